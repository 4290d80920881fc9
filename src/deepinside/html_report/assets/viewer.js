// Compares two pictures of one item: with a slider, side by side, as an overlay, or alternating.
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
  const DEFAULTS = { view: "slider", opacity: "60", map: "" };
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

  function image(item, picture) {
    const found = document.createElement("img");
    const map = controls.map.value;
    const recoloured = map && picture.levels;
    found.src = base + (recoloured ? picture.levels : picture.original);
    found.alt = `${item.title}: ${spoken(picture.panel)}`;
    found.width = picture.width;
    found.height = picture.height;
    found.draggable = false;
    if (picture.width <= 128) found.className = "pixels";
    if (recoloured) found.style.filter = `url(#map-${map})`;
    return found;
  }

  function captioned(item, picture) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = spoken(picture.panel);
    figure.append(image(item, picture), caption);
    return figure;
  }

  function slider(item, a, b) {
    const found = document.createElement("img-comparison-slider");
    const [left, right] = [image(item, a), image(item, b)];
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
    found.append(image(item, a), image(item, b));
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
    stage.style.setProperty("--aspect", a.width / a.height);
    if (view === "one") stage.replaceChildren(captioned(item, a));
    else if (view === "side") stage.replaceChildren(captioned(item, a), captioned(item, b));
    else if (view === "slider") stage.replaceChildren(slider(item, a, b));
    else stage.replaceChildren(stack(item, a, b));
    if (view === "overlay") fade();
    if (view === "blink" && !calm.matches) turning = setInterval(swap, 800);
    controls.map.disabled = ![a, b].some((picture) => picture.levels);
    tell(item, [a, b]);
  }

  function fade() {
    const over = stage.querySelector(".stack img:last-child");
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
    draw();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.name === "opacity") fade();
    place.write({ [target.name]: target.value }, target.name !== "opacity");
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
