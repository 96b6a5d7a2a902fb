// Charts of what the whole run measured: inline SVG, each with its numbers as a table.
"use strict";
isofleet.charts = (() => {
  const { el, svg, number, rounded, many, bytes, milliseconds, duration, foreign } = isofleet;
  const MOST_BARS = 40;
  let WIDTH = 560; // pixels of a chart, so that its text is as large as the page's
  const STAGES = { fetch_ms: "fetch", encode_ms: "encode", decode_ms: "decode", mesh_ms: "mesh", upload_ms: "upload" };

  const total = (found) => found.counts.reduce((sum, count) => sum + count, 0);
  const edge = (bins, place) => 2 ** (place / bins);
  const quantile = (bins, found, share) => {
    let left = share * total(found);
    const place = found.counts.findIndex((count) => (left -= count) <= 0);
    return edge(bins, found.first + Math.max(place, 0) + 0.5);
  };
  const text = (x, y, words, attributes = {}) => svg("text", { x, y, ...attributes }, words);
  const picture = (height, label, ...children) =>
    svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label }, ...children);
  const table = (head, rows) => el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Numbers" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, foreign(String(first))), ...rest.map((cell) => el("td", {}, String(cell)))))))));
  const chart = (title, note, drawn, numbers, whole = false) =>
    el("section", { class: `chart${whole ? " whole" : ""}`, "aria-label": title }, el("h3", {}, title), el("p", {}, note), drawn, numbers);

  // Round numbers 1, 2 and 5 times a power of ten between two values, at most so many of them.
  const ticks = (low, high, most) => {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
      for (const digit of [1, 2, 5]) { const value = digit * 10 ** power; if (value >= low && value <= high) all.push(value); }
    }
    const tens = all.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e9) / 1e9));
    const chosen = all.length <= most ? all : tens;
    const step = Math.ceil(chosen.length / most);
    return chosen.filter((_, place) => place % step === 0);
  };

  const histogram = (bins, found, name, form) => {
    const merge = Math.max(1, Math.ceil(found.counts.length / MOST_BARS));
    const first = Math.floor(found.first / merge);
    const last = Math.floor((found.first + found.counts.length - 1) / merge);
    const bars = Array.from({ length: last - first + 1 }, () => 0);
    found.counts.forEach((count, place) => { bars[Math.floor((found.first + place) / merge) - first] += count; });
    const [low, high] = [edge(bins, first * merge), edge(bins, (last + 1) * merge)];
    const height = 150, most = Math.max(...bars), wide = WIDTH / bars.length;
    const x = (value) => (WIDTH * Math.log(value / low)) / Math.log(high / low);
    const middle = quantile(bins, found, 0.5);
    return picture(height + 26, `${name}: half below ${form(middle)}, from ${form(low)} to ${form(high)}`,
      ...bars.map((count, place) => svg("rect", { class: "bar", x: place * wide + 1, width: Math.max(1, wide - 2), y: height - (count / most) * (height - 22), height: (count / most) * (height - 22), rx: 2 })),
      svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: height, y2: height }),
      svg("line", { class: "mark", x1: x(middle), x2: x(middle), y1: 16, y2: height }),
      text(x(middle), 11, `median ${form(middle)}`, { class: "strong", "text-anchor": x(middle) > WIDTH / 2 ? "end" : "start" }),
      ...ticks(low, high, 6).map((value) => text(x(value), height + 18, form(value), { "text-anchor": x(value) < 20 ? "start" : x(value) > WIDTH - 20 ? "end" : "middle" })));
  };
  const quantiles = (bins, found, form) => [0.5, 0.9, 0.99].map((share) => form(quantile(bins, found, share)));

  const stages = (bins, distributions) => {
    const names = Object.keys(STAGES).filter((name) => distributions[name]);
    if (!names.length) return null;
    const low = Math.min(...names.map((name) => edge(bins, distributions[name].first)));
    const high = Math.max(...names.map((name) => edge(bins, distributions[name].first + distributions[name].counts.length)));
    const narrow = WIDTH < 560;
    const whole = narrow ? WIDTH : 1180; // pixels
    const [left, right, band] = narrow ? [0, 0, 62] : [64, 205, 42];
    const wide = whole - left - right, tall = narrow ? 34 : band - 12;
    const x = (value) => left + (wide * Math.log(value / low)) / Math.log(high / low);
    const height = names.length * band + 8;
    const rows = names.flatMap((name, row) => {
      const found = distributions[name];
      const most = Math.max(...found.counts);
      const base = row * band + band - 6;
      const [middle, , late] = [0.5, 0.9, 0.99].map((share) => quantile(bins, found, share));
      return [
        text(0, narrow ? base - tall - 8 : base - 8, STAGES[name], { class: "strong" }),
        svg("line", { class: "axis", x1: left, x2: left + wide, y1: base, y2: base }),
        ...found.counts.map((count, place) => svg("rect", { class: "bar", x: x(edge(bins, found.first + place)), width: Math.max(1, (wide * Math.log(2)) / bins / Math.log(high / low) - 1), y: base - (count / most) * tall, height: (count / most) * tall })),
        svg("line", { class: "mark", x1: x(middle), x2: x(middle), y1: base - tall - 2, y2: base }),
        text(narrow ? whole : whole - right + 12, narrow ? base - tall - 8 : base - 8, `${milliseconds(middle)}, 99 % in ${milliseconds(late)}`, { class: "strong", "text-anchor": narrow ? "end" : "start" }),
      ];
    });
    const drawn = svg("svg", { viewBox: `0 0 ${whole} ${height + 22}`, role: "img", "aria-label": `Milliseconds of ${names.length} stages` }, ...rows,
      ...ticks(low, high, 8).map((value) => text(x(value), height + 16, milliseconds(value), { "text-anchor": x(value) < 20 ? "start" : x(value) > whole - 20 ? "end" : "middle" })));
    return chart("Time of each stage", "Of one image, on a logarithmic scale; the line is the median.", drawn,
      table(["Stage", "half in", "90 % in", "99 % in", "images"], names.map((name) => [STAGES[name], ...quantiles(bins, distributions[name], milliseconds), number(total(distributions[name]))])), true);
  };

  const sizes = (bins, distributions, name, title, note, form) => distributions[name]
    ? chart(title, note, histogram(bins, distributions[name], title, form), table(["", "half below", "90 % below", "99 % below", "images"], [[title, ...quantiles(bins, distributions[name], form), number(total(distributions[name]))]]))
    : null;

  const bars = (title, note, rows, head) => {
    const left = WIDTH < 560 ? 120 : 170, band = 26, most = Math.max(...rows.map(([, good, bad]) => good + bad));
    const wide = WIDTH - left - 70;
    const shown = rows.slice(0, 16);
    return chart(title, rows.length > shown.length ? `${note} The ${shown.length} largest of ${number(rows.length)}.` : note,
      picture(shown.length * band, title, ...shown.flatMap(([name, good, bad], row) => {
        const y = row * band, [first, second] = [(good / most) * wide, (bad / most) * wide];
        const room = left / 7.5;
        const short = name.length > room ? `${name.slice(0, room - 1)}…` : name;
        return [text(0, y + 16, short, { class: "strong", "unicode-bidi": "isolate" }),
          svg("rect", { class: "bar", x: left, y: y + 4, width: first, height: band - 10, rx: 2 }),
          svg("rect", { class: "bar bad", x: left + first, y: y + 4, width: second, height: band - 10, rx: 2 }),
          text(left + first + second + 8, y + 16, number(good + bad))];
      })), table(head, rows.map(([name, good, bad]) => (head.length === 2 ? [name, number(bad)] : [name, number(good), number(bad)]))));
  };

  const progress = (points) => {
    if (!points.length) return null;
    const height = 160, [begin, end] = [points[0][0], points.at(-1)[0]], most = points.at(-1)[1];
    const place = ([at, images]) => `${((at - begin) / (end - begin)) * WIDTH},${height - (images / most) * (height - 14)}`;
    const line = points.map(place).join(" ");
    const seconds = end - begin;
    const rate = (most - points[0][1]) / seconds;
    return chart("Images over time", `Committed within ${duration(seconds)}: ${rounded(rate)} a second between the first shard and the last.`,
      picture(height + 24, `Images committed over ${duration(seconds)}, ${number(most)} in the end`,
        svg("polygon", { class: "area", points: `0,${height} ${line} ${WIDTH},${height}` }), svg("polyline", { class: "line", points: line }),
        svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: height, y2: height }),
        text(WIDTH, 10, number(most), { class: "strong", "text-anchor": "end" }),
        text(0, height + 18, "0"), text(WIDTH / 2, height + 18, duration(seconds / 2), { "text-anchor": "middle" }), text(WIDTH, height + 18, duration(seconds), { "text-anchor": "end" })),
      table(["After", "images"], points.filter((_, place) => place % Math.ceil(points.length / 20) === 0 || place === points.length - 1).map(([at, images]) => [duration(at - begin), number(images)])));
  };

  const draw = (run) => {
    WIDTH = Math.min(560, document.documentElement.clientWidth - 76);
    const { bins, distributions, categories, others } = run.statistics;
    const count = (value) => (value >= 1e6 ? `${rounded(value / 1e6)} M` : value >= 1e4 ? `${rounded(value / 1e3)} k` : rounded(value));
    const kinds = [...categories, ...(others[0] + others[1] ? [["others", ...others]] : [])].sort((one, other) => other[1] + other[2] - one[1] - one[2]);
    const errors = Object.entries(run.status.errors).sort((one, other) => other[1] - one[1]).map(([code, failed]) => [code, 0, failed]);
    const drawn = [
      stages(bins, distributions),
      progress(run.progress),
      kinds.length ? bars("Categories", "Meshes, and failures in red, of the whole run.", kinds, ["Category", "meshes", "failed"]) : null,
      errors.length ? bars("Failures", "By error code, of the whole run.", errors, ["Code", "images"]) : null,
      sizes(bins, distributions, "vertices", "Vertices", "Of a mesh, on a logarithmic scale.", count),
      sizes(bins, distributions, "mesh_bytes", "Mesh files", "Size of a file, on a logarithmic scale.", bytes),
      sizes(bins, distributions, "source_bytes", "Pictures", "Size of a file, on a logarithmic scale.", bytes),
    ].filter(Boolean);
    document.getElementById("charts").replaceChildren(drawn.length
      ? el("div", { class: "charts" }, ...drawn) : el("p", { class: "note" }, "Nothing is committed yet."));
  };
  return (run) => {
    draw(run);
    window.matchMedia("(max-width: 640px)").addEventListener("change", () => draw(run));
  };
})();
