// The gallery: what is shown, in which order, and the few cards of it that are on the screen.
"use strict";
isofleet.gallery = (() => {
  const { state, el, number, many, card } = isofleet;
  const $ = (id) => document.getElementById(id);
  const GAP = 16, LEAST = 330, BELOW = 72; // pixels: between cards, a card's least width, and what is below its plates
  const OVERSCAN = 2; // rows beyond the screen on either side

  const tunnels = (item) => item.components - item.euler_number / 2; // of closed surfaces: χ = 2 (pieces − tunnels)
  const QUALITIES = {
    "": ["Any", () => true],
    watertight: ["Watertight", (item) => item.watertight === true],
    open: ["Not watertight", (item) => item.watertight === false],
    whole: ["One piece", (item) => item.components === 1],
    pieces: ["Several pieces", (item) => item.components > 1],
    tunnels: ["With tunnels", (item) => item.watertight && item.components !== null && tunnels(item) > 0],
    hollow: ["No volume", (item) => item.status === "ok" && !(item.volume > 0)],
    simplified: ["Seen simplified", (item) => item.shown_faces !== null && item.shown_faces < item.faces],
  };
  const SORTS = {
    "": ["Catalog order", (item) => item.index],
    id: ["Id", (item) => item.item_id],
    category: ["Category", (item) => item.category],
    outcome: ["Outcome", (item) => item.error_code ?? ""],
    vertices: ["Vertices", (item) => item.vertices],
    bytes: ["File size", (item) => item.mesh_bytes],
    volume: ["Volume", (item) => item.volume],
    pieces: ["Pieces", (item) => item.components],
    tunnels: ["Tunnels", (item) => (item.components === null ? null : tunnels(item))],
    source: ["Picture's size", (item) => item.source_bytes],
    time: ["Time taken", (item) => item.total_ms],
  };
  const FIELDS = ["q", "category", "outcome", "quality", "size", "sort"];

  let shown = []; // items, in order
  let places = new Map(); // of shown items, by index
  let columns = 1, width = LEAST, height = 200;
  let active = 0; // the place in `shown` of the card that the Tab key reaches
  let open = () => {};
  const cards = new Map(); // li elements by the item's index

  const options = (select, pairs) => {
    const before = select.value;
    select.replaceChildren(...pairs.map(([value, label]) => el("option", { value }, label)));
    if (pairs.some(([value]) => value === before)) select.value = before;
  };
  const fill = () => {
    const items = state.items.filter(Boolean);
    const counts = (key) => {
      const found = new Map();
      items.forEach((item) => { const value = item[key]; if (value !== null) found.set(value, (found.get(value) ?? 0) + 1); });
      return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, count]) => [value, `${value} (${number(count)})`]);
    };
    const good = items.filter((item) => item.status === "ok").length;
    options($("category"), [["", "All"], ...counts("category")]);
    options($("outcome"), [["", "All"], ["ok", `Meshes (${number(good)})`], ["failed", `Failed (${number(items.length - good)})`], ...counts("error_code")]);
    const sizes = items.filter((item) => item.vertices !== null).map((item) => item.vertices).sort((a, b) => a - b);
    const [low, high] = [0.25, 0.75].map((share) => sizes[Math.floor(share * (sizes.length - 1))]);
    options($("size"), [["", "Any"], ...(sizes.length < 4 ? [] : [
      [`0-${low}`, `to ${number(low)} vertices`], [`${low}-${high}`, `${number(low)} to ${number(high)}`],
      [`${high}-${sizes.at(-1)}`, `from ${number(high)} vertices`],
    ])]);
  };

  const keep = () => {
    const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [category, outcome] = [$("category").value, $("outcome").value];
    const quality = QUALITIES[$("quality").value][1];
    const [low, high] = $("size").value ? $("size").value.split("-").map(Number) : [];
    const key = SORTS[$("sort").value][1];
    const sign = $("direction").getAttribute("aria-pressed") === "true" ? -1 : 1;
    shown = state.items.filter((item) => item
      && (!category || item.category === category)
      && (!outcome || item.status === outcome || item.error_code === outcome)
      && (low === undefined || (item.vertices !== null && item.vertices >= low && item.vertices <= high))
      && quality(item) && words.every((word) => item.text.includes(word)));
    const missing = (value) => value === null || value === undefined;
    shown.sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (missing(a) || missing(b)) return missing(a) - missing(b) || one.index - other.index; // last either way
      return (a < b ? -sign : a > b ? sign : 0) || one.index - other.index;
    });
    places = new Map(shown.map((item, place) => [item.index, place]));
    active = 0;
    const all = state.items.filter(Boolean).length;
    const { items, status } = state.run;
    const parts = [shown.length === all ? many(all, "image") : `${number(shown.length)} of ${many(all, "image")}`];
    if (items < status.images) parts.push(`a sample: the run has ${number(status.images)}`);
    if (state.loaded < state.run.sheets) parts.push("more are being read");
    if (state.broken) parts.push(`${many(state.broken, "file")} of this report cannot be read`);
    $("count").textContent = parts.join(" · ");
    $("nothing").hidden = shown.length > 0 || state.loaded < state.run.sheets;
    cards.forEach((element) => element.remove());
    cards.clear();
    measure();
  };

  const measure = () => {
    const whole = $("grid").clientWidth;
    if (!whole) return; // another part of the report is open
    columns = Math.max(1, Math.floor((whole + GAP) / (LEAST + GAP)));
    width = (whole - GAP * (columns - 1)) / columns;
    height = Math.round((width - 18 - 12) / state.run.tiles) + BELOW;
    const rows = Math.ceil(shown.length / columns);
    $("grid").style.height = `${Math.max(0, rows * (height + GAP) - GAP)}px`;
    cards.forEach((element, index) => lay(element, places.get(index)));
    draw();
  };
  const lay = (element, place) => {
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
    element.style.transform = `translate(${(place % columns) * (width + GAP)}px, ${Math.floor(place / columns) * (height + GAP)}px)`;
  };

  const draw = () => {
    const top = $("grid").getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / (height + GAP)) - OVERSCAN) * columns;
    const last = Math.min(shown.length, (Math.ceil((window.innerHeight - top) / (height + GAP)) + OVERSCAN) * columns);
    const wanted = new Set();
    for (let place = first; place < last; place++) wanted.add(place);
    if (shown.length) wanted.add(active); // a card that has the focus must not go
    for (const [index, element] of cards) {
      if (!wanted.has(places.get(index))) { element.remove(); cards.delete(index); }
    }
    for (const place of wanted) {
      const item = shown[place];
      let element = cards.get(item.index);
      if (!element) {
        element = el("li", { "aria-setsize": shown.length, "aria-posinset": place + 1 }, card(item, open));
        element.dataset.index = item.index;
        lay(element, place);
        cards.set(item.index, element);
        $("grid").append(element);
      }
      element.firstChild.tabIndex = place === active ? 0 : -1;
    }
    // Screen readers go by the document's order.
    const ordered = [...cards.values()].sort((a, b) => a.ariaPosInSet - b.ariaPosInSet);
    ordered.forEach((element, place) => { if ($("grid").children[place] !== element) $("grid").insertBefore(element, $("grid").children[place] ?? null); });
  };

  const focus = (place) => {
    active = Math.min(Math.max(place, 0), shown.length - 1);
    const bar = getComputedStyle($("filters")).position === "sticky" ? $("filters").offsetHeight : 0;
    const row = $("grid").getBoundingClientRect().top + Math.floor(active / columns) * (height + GAP);
    if (row < bar + GAP) window.scrollBy(0, row - bar - GAP);
    else if (row + height > window.innerHeight) window.scrollBy(0, row + height + GAP - window.innerHeight);
    draw();
    cards.get(shown[active].index).firstChild.focus({ preventScroll: true });
  };
  const steps = () => ({
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity,
    PageDown: columns * Math.max(1, Math.floor(window.innerHeight / (height + GAP)) - 1),
    PageUp: -columns * Math.max(1, Math.floor(window.innerHeight / (height + GAP)) - 1),
  });

  const set = (values) => {
    fill(); // a value can be chosen once it is among the options
    $("filters").reset();
    for (const field of FIELDS) if (values[field]) $(field).value = values[field];
    for (const field of FIELDS) if ($(field).selectedIndex === -1) $(field).selectedIndex = 0;
    direction(values.descending === "1");
    keep();
  };
  const get = () => {
    const values = Object.fromEntries(FIELDS.map((field) => [field, $(field).value]).filter(([, value]) => value));
    if ($("direction").getAttribute("aria-pressed") === "true") values.descending = "1";
    return values;
  };
  const direction = (descending) => $("direction").setAttribute("aria-pressed", String(descending));

  const begin = (openItem, changed) => {
    open = openItem;
    const named = (table) => Object.entries(table).map(([value, [label]]) => [value, label]);
    options($("quality"), named(QUALITIES));
    options($("sort"), named(SORTS));
    fill();
    const again = () => { keep(); changed(); };
    $("filters").addEventListener("input", again);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("filters").addEventListener("reset", () => { direction(false); setTimeout(again); });
    $("clear-too").addEventListener("click", () => $("filters").reset());
    $("direction").addEventListener("click", (event) => { direction(event.target.getAttribute("aria-pressed") !== "true"); again(); });
    let asked = false;
    const soon = () => { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; draw(); }); } };
    window.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(measure).observe($("grid"));
    $("grid").addEventListener("keydown", (event) => {
      const step = steps()[event.key];
      if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      focus(active + step);
    });
    $("grid").addEventListener("focusin", (event) => {
      const element = event.target.closest("li");
      if (element) active = places.get(Number(element.dataset.index));
    });
  };

  let waits = false;
  isofleet.onItems(() => {
    if (waits) return;
    waits = true;
    setTimeout(() => {
      waits = false;
      if (state.loaded < state.run.sheets) { fill(); keep(); } // the last is for whoever waits for all
    }, 120);
  });

  return { begin, set, get, focus, measure, place: (item) => places.get(item.index), at: (place) => shown[place], size: () => shown.length };
})();
