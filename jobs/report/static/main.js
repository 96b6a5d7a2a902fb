// The frame: what the run was, the four parts, and the address that leads back to what is seen.
"use strict";
(() => {
  const { state, el, number, rounded, many, bytes, duration, date, tail, card, facts, foreign, gallery, viewer } = isofleet;
  const $ = (id) => document.getElementById(id);
  const PARTS = ["gallery", "failures", "charts", "run"];
  const EXAMPLES = 12; // pictures of each kind of failure
  let part = "gallery", opened = null;

  const wished = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const note = () => {
    const values = { ...(part === "gallery" ? {} : { part }), ...gallery.get(), ...(opened ? { item: opened.item_id } : {}) };
    location.replace(`#${new URLSearchParams(values)}`);
  };

  const show = (name) => {
    part = PARTS.includes(name) ? name : "gallery";
    for (const one of PARTS) {
      $(one).hidden = one !== part;
      $(`tab-${one}`).setAttribute("aria-selected", String(one === part));
      $(`tab-${one}`).tabIndex = one === part ? 0 : -1;
    }
    if (part === "gallery") gallery.measure();
  };
  const tabs = () => {
    document.querySelector(".tabs").addEventListener("click", (event) => {
      const name = event.target.id?.replace("tab-", "");
      if (PARTS.includes(name)) { show(name); note(); }
    });
    document.querySelector(".tabs").addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(PARTS[(PARTS.indexOf(part) + step + PARTS.length) % PARTS.length]);
      $(`tab-${part}`).focus();
      note();
    });
  };

  const open = (item) => { opened = item; viewer.open(item); note(); };
  const turnTo = (step) => {
    const place = gallery.place(opened);
    const next = place === undefined ? undefined : gallery.at(place + step);
    if (next) open(next);
  };

  const STATES = { planning: "is being planned", unfinished: "is not finished", committed: "has all its rows, but did not end well", finished: "finished" };
  const head = (run) => {
    const { status, request } = run;
    $("title").replaceChildren(foreign(tail(request.catalog)), " → ", foreign(tail(status.output)));
    document.title = `${tail(status.output)} · Isofleet report`;
    $("subtitle").replaceChildren(
      `The run of ${date(status.created_at)} ${STATES[status.state]}`,
      status.planned && status.images < status.images_planned ? `: ${number(status.images)} of ${many(status.images_planned, "image")} so far` : "", ".",
      run.items < status.images ? ` Shown here: ${number(run.items)} images, all categories, failures first, the others evenly chosen.` : "");
    const figure = (name, value, kind) => el("div", kind ? { class: kind } : {}, el("dt", {}, name), el("dd", {}, value));
    const share = status.images ? (100 * status.failed) / status.images : 0;
    $("figures").replaceChildren(
      figure(status.ok === 1 ? "mesh" : "meshes", number(status.ok)),
      figure(status.failed ? `failed, ${rounded(share)} %` : "failed", number(status.failed), status.failed ? "bad" : ""),
      ...(status.carried ? [figure("carried from earlier runs", number(status.carried))] : []),
      figure("resolution", `${request.resolution}³`),
      figure("of mesh files", bytes(status.mesh_bytes)),
      ...(run.seconds ? [figure("images a second", rounded((status.images - status.carried) / run.seconds)), figure("in all", duration(run.seconds))] : []));
  };

  const failures = () => {
    const { status, meanings } = state.run;
    const codes = Object.entries(status.errors).sort((one, other) => other[1] - one[1]);
    if (!codes.length) {
      $("failures").replaceChildren(el("p", { class: "note" }, status.images ? "No image failed." : "Nothing is committed yet."));
      return;
    }
    const items = state.items.filter((item) => item && item.status !== "ok");
    $("failures").replaceChildren(...codes.map(([code, count]) => {
      const examples = items.filter((item) => item.error_code === code);
      const all = () => { show("gallery"); gallery.set({ outcome: code }); note(); gallery.focus(0); };
      return el("section", { class: "panel", "aria-label": code },
        el("div", { class: "panel-head" }, el("h2", {}, foreign(code)), el("span", {}, many(count, "image")),
          examples.length > EXAMPLES ? el("button", { class: "link", type: "button", onclick: all }, `See all ${number(examples.length)} of this report`) : null),
        el("p", {}, `${(meanings[code] ?? "A code of another version").replace(/^./, (letter) => letter.toUpperCase())}.`),
        el("ul", { class: "row" }, ...examples.slice(0, EXAMPLES).map((item) => el("li", {}, card(item, open)))));
    }));
  };

  const about = (run) => {
    const { status, request } = run;
    const code = (text) => el("code", {}, foreign(text));
    const weights = Object.entries(request.weights).map(([category, used]) => el("div", {}, category === "*" ? "all categories: " : foreign(`${category}: `), code(used.uri), " ", code(used.digest.slice(0, 16))));
    const options = Object.entries(request).filter(([name, value]) => !["catalog", "weights", "previous", "again"].includes(name) && value !== null)
      .map(([name, value]) => [name.replaceAll("_", " "), code(typeof value === "object" ? JSON.stringify(value) : String(value))]);
    const written = [["run", code(status.run_id)], ["state", STATES[status.state]], ["begun", date(status.created_at)],
      ["took", run.seconds ? `${duration(run.seconds)}, ${rounded((status.images - status.carried) / run.seconds)} images a second` : null],
      ["images", `${number(status.images)}: ${number(status.ok)} meshes, ${number(status.carried)} of them carried, ${number(status.failed)} failed`],
      ["shards", number(status.shards)], ["decoder", `asked at ${number(status.points_evaluated)} points`],
      ["code", code(status.code_version)], ["report", el("span", {}, `${date(run.written_at)}, by `, code(run.written_by))]];
    $("run").replaceChildren(
      facts(written), el("h2", {}, "What was asked"),
      facts([["catalog", code(request.catalog)], ["output", code(status.output)], ["weights", el("div", {}, ...weights)],
        ["previous", request.previous.length ? el("div", {}, ...request.previous.map((one) => el("div", {}, code(one.uri), " ", code(one.run_id)))) : null],
        ["tried again", request.again ? el("span", {}, code(request.again.uri), " ", code(request.again.codes.join(", "))) : null], ...options]));
  };

  isofleet.onRun((run) => {
    head(run);
    about(run);
    isofleet.charts(run);
    gallery.begin(open, note);
    viewer.begin({ turnTo, closed: () => { const last = opened; opened = null; note(); if (part === "gallery" && gallery.place(last) !== undefined) gallery.focus(gallery.place(last)); } });
    $("tab-failures").textContent = run.status.failed ? `Failures (${number(run.status.failed)})` : "Failures";
    tabs();
    show(wished().part);
  });
  isofleet.load().then(() => {
    failures();
    const wish = wished();
    gallery.set(wish);
    const item = wish.item && state.items.find((one) => one && one.item_id === wish.item);
    if (item) open(item);
    document.documentElement.dataset.ready = "yes";
  }, () => {
    $("title").textContent = "This report is not whole";
    $("subtitle").textContent = "Its file data/run.js cannot be read. Copy the whole folder report, or write it again.";
  });
})();
