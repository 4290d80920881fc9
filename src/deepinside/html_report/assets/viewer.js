// Compares two pictures of one item: with a slider, side by side, as an overlay, or alternating. A photo is shown as it
// was taken, and maps lie over the part of it that the network sees, unless that part alone is asked for.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const viewer = document.getElementById("viewer");
  const run = viewer && deepinside.data[viewer.dataset.run];
  if (!run || !run.items.length) return;
  const { place } = deepinside;
  const base = document.body.dataset.base;
  const stage = document.getElementById("stage");
  const form = viewer.querySelector("form");
  const controls = form.elements;
  const chooser = form.querySelector("[name=item]"); // `controls.item` is a method of every such list
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const DEFAULTS = { view: "slider", opacity: "80", map: "" };
  const SWITCHES = ["solid", "cropped", "unboxed"];
  const SVG = "http://www.w3.org/2000/svg";
  let turning = 0;

  const spoken = (name) => name.replaceAll("/", ": ").replaceAll("_", " ");
  const itemOf = (name) => run.items.find((item) => item.name === name) || run.items[0];
  const pictureOf = (item, panel) => item.pictures.find((picture) => picture.panel === panel);

  function first(item) {
    return item.pictures.find((picture) => /(^|\/)(photo|box)$/.test(picture.panel)) || item.pictures[0];
  }

  function second(item, a) {
    const others = item.pictures.filter((picture) => picture !== a);
    return others.find((picture) => picture.levels) || others[0] || a;
  }

  const isWhole = (item) => Boolean(item.photo) && !controls.cropped.checked;

  // the map's colours, and for an overlay no colour where it is low; none for a picture in colours of its own
  function filters(picture, clear) {
    const map = controls.map.value || (clear ? picture.overlay : "");
    if (!map || !picture.levels) return "";
    return `${clear ? `url(#alpha${picture.map === "signed" ? "-signed" : ""}) ` : ""}url("#map-${map}")`;
  }

  function image(source, words, name = "") {
    const found = document.createElement("img");
    Object.assign(found, { src: base + source, alt: words, draggable: false, className: name });
    return found;
  }

  function panel(item, picture, clear) {
    const words = `${item.title}: ${spoken(picture.panel)}`;
    if (isWhole(item) && picture.photo) return image(run.photographs[item.photo.key], words);
    const filter = filters(picture, clear);
    const found = image(filter ? picture.levels : picture.original, words, isWhole(item) ? "part" : "");
    if (!isWhole(item) && picture.width <= 128) found.className = "pixels";
    found.style.filter = filter;
    return found;
  }

  function boxes(item) {
    const found = document.createElementNS(SVG, "svg");
    found.setAttribute("viewBox", "0 0 1 1");
    found.setAttribute("preserveAspectRatio", "none");
    found.setAttribute("class", isWhole(item) ? "part" : "");
    for (const [x0, y0, x1, y1] of item.boxes) {
      for (const name of ["casing", ""]) {
        const rect = document.createElementNS(SVG, "rect");
        const values = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: name };
        for (const [key, value] of Object.entries(values)) rect.setAttribute(key, value);
        found.append(rect);
      }
    }
    return found;
  }

  // one picture where it lies in the photo; `over` another it is clear where it is low
  function frame(item, picture, over = false) {
    const found = document.createElement("div");
    found.className = "frame";
    const whole = isWhole(item);
    if (whole) {
      const [left, top, right, bottom] = item.photo.view.map((part) => 100 * part);
      const place = { left, top, width: right - left, height: bottom - top };
      for (const [name, value] of Object.entries(place)) found.style.setProperty(`--${name}`, `${value}%`);
      if (!picture.photo && !over) found.append(image(run.photographs[item.photo.key], "", "around"));
    }
    found.append(panel(item, picture, over && controls.view.value === "overlay" && !controls.solid.checked));
    if (item.boxes.length && !controls.unboxed.checked) found.append(boxes(item));
    return found;
  }

  function captioned(item, picture) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = spoken(picture.panel);
    figure.append(frame(item, picture), caption);
    return figure;
  }

  function slider(item, a, b) {
    const found = document.createElement("img-comparison-slider");
    const [left, right] = [frame(item, a), frame(item, b)];
    left.slot = "first";
    right.slot = "second";
    found.append(left, right);
    const told = { role: "slider", "aria-label": `How much of ${spoken(a.panel)} is visible over ${spoken(b.panel)}` };
    for (const [name, value] of Object.entries({ ...told, "aria-valuemin": 0, "aria-valuemax": 100 })) {
      found.setAttribute(name, value);
    }
    const tell = () => found.setAttribute("aria-valuenow", Math.round(found.value));
    found.addEventListener("slide", tell);
    tell();
    return found;
  }

  function stack(item, a, b) {
    const found = document.createElement("div");
    found.className = "stack";
    found.append(frame(item, a), frame(item, b, true));
    return found;
  }

  function swap() {
    stage.querySelector(".stack")?.classList.toggle("swapped");
  }

  function draw() {
    clearInterval(turning);
    const item = itemOf(chooser.value);
    const [a, b] = [pictureOf(item, controls.a.value), pictureOf(item, controls.b.value)];
    const view = item.pictures.length > 1 ? controls.view.value : "one";
    viewer.dataset.view = view;
    const { width, height } = isWhole(item) ? item.photo : a;
    stage.style.setProperty("--aspect", width / height);
    if (view === "one") stage.replaceChildren(captioned(item, a));
    else if (view === "side") stage.replaceChildren(captioned(item, a), captioned(item, b));
    else if (view === "slider") stage.replaceChildren(slider(item, a, b));
    else stage.replaceChildren(stack(item, a, b));
    if (view === "overlay") fade();
    if (view === "blink" && !calm.matches) turning = setInterval(swap, 800);
    controls.map.disabled = ![a, b].some((picture) => picture.levels);
    offerSwitches({ levels: b.levels, photo: item.photo, boxes: item.boxes.length });
    tell(item, [a, b]);
  }

  function offerSwitches(given) {
    for (const label of form.querySelectorAll("[data-for]")) label.hidden = !given[label.dataset.for];
  }

  function fade() {
    const over = stage.querySelector(".stack > :last-child");
    if (over && controls.view.value === "overlay") over.style.opacity = controls.opacity.value / 100;
  }

  function tell(item, pictures) {
    const lines = Object.entries(item.numbers).slice(0, 12).flatMap(([name, value]) => {
      const [term, number] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = spoken(name);
      number.textContent = value;
      return [term, number];
    });
    document.getElementById("item-numbers").replaceChildren(...lines);
    const verdict = document.getElementById("item-verdict");
    verdict.textContent = item.verdict;
    verdict.className = `judged ${item.verdict.split(":")[0]}`;
    const links = [...new Set(pictures)].flatMap((picture) => {
      const link = document.createElement("a");
      link.href = base + picture.original;
      if (!base) link.download = `${item.name} ${spoken(picture.panel)}.png`; // a page in one file has no files to open
      link.textContent = spoken(picture.panel);
      return [" ", link];
    });
    document.getElementById("originals").replaceChildren("Files:", ...links);
  }

  function offer(item) {
    for (const select of [controls.a, controls.b]) {
      select.replaceChildren(...item.pictures.map((picture) => new Option(spoken(picture.panel), picture.panel)));
    }
  }

  function restore() {
    const now = place.read();
    const item = itemOf(now.get("item"));
    offer(item);
    const a = pictureOf(item, now.get("a")) || first(item);
    const b = pictureOf(item, now.get("b")) || second(item, a);
    chooser.value = item.name;
    controls.a.value = a.panel;
    controls.b.value = b.panel;
    for (const [name, value] of Object.entries(DEFAULTS)) controls[name].value = now.get(name) || value;
    for (const name of SWITCHES) controls[name].checked = now.has(name);
    draw();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.name === "opacity") fade();
    const value = target.type === "checkbox" && !target.checked ? "" : target.value;
    place.write({ [target.name]: value }, target.name !== "opacity");
  });
  controls.swap.addEventListener("click", swap);
  addEventListener("hashchange", () => {
    restore();
    if (place.read().has("item") && document.activeElement?.closest(".strip")) viewer.scrollIntoView();
  });
  if (run.items.length < 2) chooser.closest("label").hidden = true;
  restore();
  viewer.hidden = false;
});
