// What the other scripts share: the data as it arrives, text and numbers, and elements that hold text as text.
"use strict";
const isofleet = (() => {
  const state = { run: null, items: [], loaded: 0 };
  const waiting = { run: [], items: [] };
  const meshes = new Map(); // by file: what waits for its mesh

  // Each data file calls one of these three; see write_script in sheets.py.
  const run = (facts) => {
    state.run = facts;
    waiting.run.forEach((tell) => tell(facts));
  };
  const sheet = (index, facts) => {
    const names = Object.keys(facts.items);
    const columns = names.map((name) => facts.items[name]);
    const first = index * state.run.sheet_rows;
    for (let row = 0; row < columns[0].length; row++) {
      const item = { index: first + row, sheet: index, row, rows: columns[0].length };
      names.forEach((name, place) => { item[name] = columns[place][row]; });
      item.total_ms = state.run.stages.reduce((sum, stage) => sum + (item[stage] ?? 0), 0);
      item.text = [item.item_id, item.source_uri, item.category, item.error_code, item.error_message, item.mesh_uri]
        .filter(Boolean).join("\n").toLowerCase();
      state.items[item.index] = item;
    }
    state.loaded += 1;
    waiting.items.forEach((tell) => tell());
  };
  const mesh = (data) => { meshes.get(document.currentScript)?.(data); };

  const script = (address) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.onload = () => { element.remove(); resolve(); };
    element.onerror = () => { element.remove(); reject(new Error(`${address} cannot be read`)); };
    element.src = address;
    document.head.append(element);
  });
  const pad = (number, digits) => String(number).padStart(digits, "0");
  const meshOf = (item) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    const end = (settle) => (value) => { meshes.delete(element); element.remove(); settle(value); };
    meshes.set(element, end(resolve));
    element.onerror = end(() => reject(new Error("the mesh's file cannot be read")));
    element.src = `meshes/${pad(item.sheet, 5)}-${pad(item.row, 2)}.js`;
    document.head.append(element);
  });

  // Some at a time, so that the first are seen at once and the page stays free to answer.
  const load = async () => {
    await script("data/run.js");
    const left = Array.from({ length: state.run.sheets }, (_, index) => index);
    const worker = async () => {
      while (left.length) {
        const index = left.shift();
        try { await script(`data/${pad(index, 5)}.js`); } catch { state.loaded += 1; state.broken = (state.broken ?? 0) + 1; }
      }
    };
    await Promise.all(Array.from({ length: 6 }, worker));
  };

  // Text of strangers comes in by append and setAttribute alone, and is isolated from the direction of its surroundings.
  const el = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const foreign = (text) => el("bdi", {}, text);
  const svg = (name, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const whole = new Intl.NumberFormat("en");
  const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const number = (value) => whole.format(value);
  const rounded = (value) => short.format(value);
  const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;
  const bytes = (value) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${rounded(value)} ${units[unit]}`;
  };
  const milliseconds = (value) => (value >= 1000 ? `${rounded(value / 1000)} s` : `${rounded(value)} ms`);
  const duration = (seconds) => {
    if (seconds < 60) return `${rounded(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  };
  const date = (text) => new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" })
    .format(new Date(text)) + " UTC";
  // The last part of an id or address, which tells most; the whole is in the viewer.
  const tail = (text) => text.split("/").filter(Boolean).pop() ?? text;

  // One tile of an item's row in its sheet: 0 is the picture, the others are views of its mesh.
  const plate = (item, tile) => {
    const why = tile === 0 ? item.picture : item.views ?? (item.mesh_uri ? null : "no mesh");
    const box = el("span", { class: `plate${tile === 0 ? " picture" : ""}${why ? " bare" : ""}` });
    if (why) {
      if (tile < 2) box.append(tile === 0 ? `picture ${why}` : why === "no mesh" ? why : `mesh ${why}`);
      return box;
    }
    const image = el("i");
    const tiles = state.run.tiles;
    image.style.backgroundImage = `url("sheets/${pad(item.sheet, 5)}.webp")`;
    image.style.backgroundSize = `${tiles * 100}% ${item.rows * 100}%`;
    image.style.backgroundPosition = `${(tile / (tiles - 1)) * 100}% ${item.rows > 1 ? (item.row / (item.rows - 1)) * 100 : 0}%`;
    box.append(image);
    return box;
  };
  const summary = (item) => item.status === "ok"
    ? `${item.category} · ${number(item.vertices)} vertices · ${bytes(item.mesh_bytes)}`
    : `${item.category} · ${item.error_code}`;
  const card = (item, open) => {
    const failed = item.status !== "ok";
    const shown = failed
      ? [plate(item, 0), el("span", { class: "why" }, foreign(item.error_message ?? item.error_code))]
      : Array.from({ length: state.run.tiles }, (_, tile) => plate(item, tile));
    return el("button", { class: `card${failed ? " failed" : ""}`, type: "button", onclick: () => open(item) },
      el("span", { class: "plates", "aria-hidden": failed ? false : "true" }, ...shown),
      el("b", {}, foreign(tail(item.item_id))), el("small", {}, foreign(summary(item))));
  };
  const facts = (pairs) => el("dl", { class: "facts" }, ...pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : String(value))]));

  return {
    state, run, sheet, mesh, meshOf, script, load, el, svg, foreign, number, rounded, many, bytes, milliseconds,
    duration, date, tail, plate, card, facts,
    onRun: (tell) => waiting.run.push(tell), onItems: (tell) => waiting.items.push(tell),
  };
})();
