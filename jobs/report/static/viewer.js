// The dialog in which one mesh is turned: by mouse, touch and keyboard. three.js is read when the first is opened.
"use strict";
isofleet.viewer = (() => {
  const { state, el, number, many, rounded, bytes, milliseconds, tail, plate, facts, foreign, script, meshOf } = isofleet;
  const $ = (id) => document.getElementById(id);
  const TURN = 10, ZOOM = 1.15, START = { azimuth: 35, elevation: 20, distance: 2.5 }; // degrees; object units
  const FIELD = 25; // degrees: the cameras of the thumbnails are these too
  let scene = null, view = { ...START }, item = null, turns = () => {}, asked = false;

  // Undoes compact.encode.
  const inflate = async (data) => {
    const packed = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const raw = new DataView(await new Response(stream).arrayBuffer());
    const [vertices, faces] = [raw.getUint32(0, true), raw.getUint32(4, true)];
    const low = [8, 12, 16].map((at) => raw.getFloat32(at, true));
    const step = raw.getFloat32(20, true);
    const positions = new Float32Array(3 * vertices), index = new Uint32Array(3 * faces);
    let at = 24, value = 0;
    for (let place = 0; place < 3 * vertices; place++) {
      const coded = raw.getUint8(at + place) | (raw.getUint8(at + 3 * vertices + place) << 8);
      const axis = Math.floor(place / vertices), vertex = place % vertices;
      value = (vertex === 0 ? 0 : value) + ((coded >> 1) ^ -(coded & 1));
      positions[3 * vertex + axis] = low[axis] + step * value;
    }
    at += 6 * vertices;
    let unnamed = 0;
    for (let place = 0; place < 3 * faces; place++) {
      const lacks = raw.getUint8(at + place) | (raw.getUint8(at + 3 * faces + place) << 8) | (raw.getUint8(at + 6 * faces + place) << 16);
      index[place] = unnamed - lacks;
      if (lacks === 0) unnamed += 1;
    }
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
    geometry.setIndex(new THREE.BufferAttribute(index, 1));
    geometry.computeVertexNormals();
    return geometry;
  };

  const begin3d = async () => {
    if (scene) return scene;
    if (!window.THREE) await script("three.js");
    const canvas = $("canvas");
    const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    renderer.outputEncoding = THREE.sRGBEncoding;
    const camera = new THREE.PerspectiveCamera(FIELD, 1, 0.05, 50);
    const world = new THREE.Scene();
    const lamp = new THREE.DirectionalLight(0xffffff, 0.62);
    lamp.position.set(-0.8, 1.4, 1.6); // from over the viewer's left shoulder
    camera.add(lamp);
    world.add(camera, new THREE.HemisphereLight(0xffffff, 0x4a453e, 0.5));
    const material = new THREE.MeshStandardMaterial({ roughness: 0.8, metalness: 0 });
    material.color.setHex(0xc4beb4).convertSRGBToLinear();
    scene = { renderer, camera, world, material, mesh: null };
    new ResizeObserver(draw).observe(canvas);
    return scene;
  };
  const draw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      if (!scene || !$("viewer").open) return;
      const { renderer, camera, world } = scene, canvas = $("canvas");
      const { clientWidth: width, clientHeight: height } = canvas;
      renderer.setPixelRatio(Math.min(2, window.devicePixelRatio));
      renderer.setSize(width, height, false);
      camera.aspect = width / height;
      camera.fov = width < height ? 2 * Math.atan(Math.tan((FIELD * Math.PI) / 360) / camera.aspect) * (180 / Math.PI) : FIELD;
      const [azimuth, elevation] = [view.azimuth, view.elevation].map((degrees) => (degrees * Math.PI) / 180);
      camera.position.set(Math.cos(elevation) * Math.sin(azimuth), Math.sin(elevation), -Math.cos(elevation) * Math.cos(azimuth)).multiplyScalar(view.distance);
      camera.lookAt(0, 0, 0);
      camera.updateProjectionMatrix();
      renderer.render(world, camera);
      canvas.dataset.view = [view.azimuth, view.elevation, view.distance].map((value) => value.toFixed(2)).join(" ");
    });
  };
  const turn = (right, up) => {
    view.azimuth = (view.azimuth + right + 360) % 360;
    view.elevation = Math.min(89, Math.max(-89, view.elevation + up));
    draw();
  };
  const zoom = (factor) => { view.distance = Math.min(10, Math.max(0.7, view.distance * factor)); draw(); };

  const place = (geometry) => {
    const { world, material } = scene;
    geometry.computeBoundingBox();
    const middle = geometry.boundingBox.getCenter(new THREE.Vector3());
    const mesh = new THREE.Mesh(geometry, material);
    const points = geometry.getAttribute("position"), point = new THREE.Vector3();
    let radius = 0;
    for (let vertex = 0; vertex < points.count; vertex++) radius = Math.max(radius, point.fromBufferAttribute(points, vertex).distanceTo(middle));
    const scale = 0.5 / (radius || 1);
    mesh.scale.setScalar(scale);
    mesh.position.copy(middle).multiplyScalar(-scale);
    clear();
    scene.mesh = mesh;
    world.add(mesh);
    draw();
  };
  const clear = () => {
    if (!scene?.mesh) return;
    scene.world.remove(scene.mesh);
    scene.mesh.geometry.dispose();
    scene.mesh = null;
  };

  const address = (link) => `../${link.split("/").map(encodeURIComponent).join("/")}`;
  const full = async (wanted) => {
    const answer = await fetch(address(wanted.link));
    if (!answer.ok) throw new Error(`the mesh answers ${answer.status}`);
    const loaded = await new Promise(async (resolve, reject) => new THREE.GLTFLoader().parse(await answer.arrayBuffer(), "", resolve, reject));
    let geometry = null;
    loaded.scene.traverse((node) => { geometry ??= node.isMesh ? node.geometry : null; });
    return geometry.rotateY(Math.PI); // a GLB has the front to +Z, our cameras look for it at −Z
  };
  const note = (text, big = false) => {
    $("viewer-note").textContent = text;
    $("viewer-note").classList.toggle("big", big);
  };

  // The mesh itself where it can be fetched; its compact form beside the page otherwise, and at once in any case.
  const load = async (wanted) => {
    if (wanted.status !== "ok") return note(wanted.error_message ?? wanted.error_code, true);
    if (wanted.views !== null) return note(`The mesh is ${wanted.views}.`, true);
    note("Reading the mesh …");
    try {
      await begin3d();
    } catch {
      return note("This browser draws no WebGL; the views beside show the mesh.", true);
    }
    const current = () => item === wanted;
    try {
      const geometry = await inflate(await meshOf(wanted));
      if (!current()) return undefined;
      place(geometry);
      const all = wanted.shown_faces === wanted.faces;
      note(all ? `All ${number(wanted.faces)} faces` : `Simplified to ${number(wanted.shown_faces)} of ${number(wanted.faces)} faces`);
    } catch (error) {
      if (current()) note(`The mesh cannot be shown: ${error.message}.`, true);
      return undefined;
    }
    if (location.protocol !== "file:" && wanted.format === "glb" && wanted.link) {
      try {
        const geometry = await full(wanted);
        if (geometry && current()) { place(geometry); note(`The file itself: ${number(wanted.faces)} faces`); }
      } catch { /* the compact form stays, and the note says what it is */ }
    }
    return undefined;
  };

  const describe = (wanted) => {
    const closed = wanted.watertight && wanted.components !== null;
    const tunnels = closed ? wanted.components - wanted.euler_number / 2 : null;
    const code = (text) => (text ? el("code", {}, foreign(text)) : null);
    const stages = state.run.stages.filter((stage) => wanted[stage] !== null);
    return facts([
      ["id", code(wanted.item_id)], ["category", foreign(wanted.category)], ["error", code(wanted.error_code)], ["why", wanted.error_message && foreign(wanted.error_message)],
      ["vertices", wanted.vertices !== null && number(wanted.vertices)], ["faces", wanted.faces !== null && number(wanted.faces)],
      ["watertight", wanted.watertight === null ? null : wanted.watertight ? "yes" : "no"],
      ["pieces", wanted.components], ["tunnels", tunnels], ["Euler number", wanted.euler_number],
      ["volume", wanted.volume !== null && wanted.volume.toPrecision(3)], ["resolution", wanted.resolution && `${wanted.resolution}³`],
      ["file", wanted.mesh_bytes !== null && `${wanted.format}, ${bytes(wanted.mesh_bytes)}`],
      ["picture", wanted.width && `${number(wanted.width)} × ${number(wanted.height)} px${wanted.source_bytes ? `, ${bytes(wanted.source_bytes)}` : ""}`],
      ["time", stages.length ? stages.map((stage) => `${stage.replace("_ms", "")} ${milliseconds(wanted[stage])}`).join(", ") : null],
      ["attempts", wanted.attempts > 1 ? many(wanted.attempts, "attempt") : null], ["carried from", code(wanted.carried_from)],
      ["image", code(wanted.source_uri)], ["mesh", code(wanted.mesh_uri)],
    ].filter(([, value]) => value !== false));
  };

  const open = (wanted) => {
    item = wanted;
    const good = wanted.status === "ok" && wanted.views === null;
    $("viewer-title").replaceChildren(foreign(tail(wanted.item_id)));
    $("viewer-tiles").replaceChildren(plate(wanted, 0), ...(good ? Array.from({ length: state.run.tiles - 1 }, (_, tile) => plate(wanted, tile + 1)) : []));
    $("viewer-facts").replaceChildren(describe(wanted));
    $("viewer-actions").replaceChildren(...(wanted.link ? [el("a", { class: "quiet button", href: address(wanted.link), download: "" }, `Download ${wanted.format.toUpperCase()}`)] : []),
      ...(good ? [el("button", { class: "quiet", type: "button", "aria-pressed": "false", onclick: wires }, "Wireframe")] : []));
    $("canvas").setAttribute("aria-label", `Mesh of ${wanted.item_id}`);
    $("canvas").hidden = !good;
    $("viewer-help").hidden = !good;
    const place = isofleet.gallery.place(wanted);
    $("previous").disabled = place === undefined || place === 0;
    $("next").disabled = place === undefined || place >= isofleet.gallery.size() - 1;
    if (scene) scene.material.wireframe = false;
    clear();
    view = { ...START };
    draw();
    if (!$("viewer").open) { $("viewer").showModal(); (good ? $("canvas") : $("close")).focus(); }
    document.querySelector(".side").scrollTop = 0;
    load(wanted);
  };
  const wires = (event) => {
    if (!scene) return;
    scene.material.wireframe = !scene.material.wireframe;
    event.target.setAttribute("aria-pressed", String(scene.material.wireframe));
    draw();
  };

  const begin = ({ turnTo, closed }) => {
    turns = turnTo;
    const dialog = $("viewer"), canvas = $("canvas");
    $("close").addEventListener("click", () => dialog.close());
    $("previous").addEventListener("click", () => turns(-1));
    $("next").addEventListener("click", () => turns(1));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
    dialog.addEventListener("close", () => { item = null; clear(); closed(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "PageUp") turns(-1);
      else if (event.key === "PageDown") turns(1);
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("keydown", (event) => {
      const action = {
        ArrowLeft: () => turn(-TURN, 0), ArrowRight: () => turn(TURN, 0), ArrowUp: () => turn(0, TURN), ArrowDown: () => turn(0, -TURN),
        "+": () => zoom(1 / ZOOM), "=": () => zoom(1 / ZOOM), "-": () => zoom(ZOOM), 0: () => { view = { ...START }; draw(); },
      }[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
    const fingers = new Map();
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, event); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const spread = () => { const [one, other] = [...fingers.values()]; return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1; };
      if (fingers.size === 1) {
        const degrees = 220 / Math.min(canvas.clientWidth, canvas.clientHeight); // across the whole: a little over half a turn
        turn((before.clientX - event.clientX) * -degrees, (event.clientY - before.clientY) * degrees);
        fingers.set(event.pointerId, event);
      } else if (fingers.size === 2) {
        const apart = spread();
        fingers.set(event.pointerId, event);
        zoom(apart / spread());
      }
    });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.0012)); }, { passive: false });
    canvas.addEventListener("dblclick", () => { view = { ...START }; draw(); });
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); note("The graphics were lost; open the mesh again.", true); scene = null; });
  };
  return { open, begin };
})();
