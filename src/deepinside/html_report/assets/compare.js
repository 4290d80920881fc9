// Compares runs side by side: rows are items, columns are runs. A run's data is loaded when it is added.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("compare");
  if (!box) return;
  const { place, data } = deepinside;
  const base = document.body.dataset.base;
  const table = box.querySelector("table");
  const form = box.querySelector("form");
  const { add, panel, size } = form.elements;
  const known = new Map([...add.options].filter((option) => option.value).map((option) => [option.value, option]));
  const atFirst = [...known.values()].filter((option) => "first" in option.dataset).map((option) => option.value);

  const spoken = (name) => name.replaceAll("/", ": ").replaceAll("_", " ");
  const element = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

  function chosen() {
    const now = place.read();
    return now.has("with") ? now.get("with").split(",").filter((slug) => known.has(slug)) : atFirst;
  }

  function load(slug) {
    if (data[slug]) return Promise.resolve();
    return new Promise((done) => {
      const script = element("script");
      script.src = known.get(slug).dataset.src;
      script.onload = script.onerror = done;
      document.head.append(script);
    });
  }

  function heading(slug) {
    const { dataset } = known.get(slug);
    const cell = element("th");
    cell.scope = "col";
    const link = Object.assign(element("a", dataset.label), { href: dataset.page });
    const remove = Object.assign(element("button", "Remove"), { type: "button", className: "plain" });
    remove.setAttribute("aria-label", `Remove ${dataset.label} on ${dataset.network}`);
    remove.addEventListener("click", () => keep(chosen().filter((other) => other !== slug)));
    cell.append(link, element("small", dataset.network), remove);
    return cell;
  }

  function picture(item, found, captioned) {
    const figure = element("figure");
    const image = element("img");
    Object.assign(image, { loading: "lazy", src: base + found.shown, alt: `${item.title}: ${spoken(found.panel)}` });
    Object.assign(image, { width: found.width, height: found.height });
    if (found.width <= 128) image.className = "pixels";
    figure.append(image);
    if (captioned) figure.append(element("figcaption", spoken(found.panel)));
    return figure;
  }

  function cell(run, name, captioned) {
    const found = element("td");
    const item = run.items.find((one) => one.name === name);
    const shown = (item ? item.pictures : []).filter((one) => !panel.value || one.panel === panel.value);
    const strip = Object.assign(element("div"), { className: "strip" });
    strip.append(...shown.map((one) => picture(item, one, captioned)));
    found.append(strip);
    return found;
  }

  function offer(runs) {
    const names = new Set(runs.flatMap((run) => run.items.flatMap((item) => item.pictures.map((one) => one.panel))));
    panel.replaceChildren(new Option("all", ""), ...[...names].map((name) => new Option(spoken(name), name)));
    panel.value = names.has(place.read().get("panel")) ? place.read().get("panel") : "";
    return names.size > 1 && !panel.value;
  }

  async function draw() {
    const slugs = chosen();
    await Promise.all(slugs.map(load));
    const runs = slugs.map((slug) => data[slug]).filter(Boolean);
    const captioned = offer(runs);
    size.value = place.read().get("size") || "128";
    table.style.setProperty("--side", `${size.value}px`);
    const titles = new Map(runs.flatMap((run) => run.items.map((item) => [item.name, item.title])));
    const top = element("tr");
    top.append(element("td"), ...runs.map((run) => heading(run.slug)));
    const rows = [...titles].map(([name, title]) => {
      const row = element("tr");
      const head = Object.assign(element("th", title), { scope: "row" });
      row.append(head, ...runs.map((run) => cell(run, name, captioned)));
      return row;
    });
    const [head, body] = [element("thead"), element("tbody")];
    head.append(top);
    body.append(...rows);
    table.replaceChildren(head, body);
  }

  function keep(slugs) {
    place.write({ with: slugs.join(",") || "none" }, true);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target === add) {
      if (add.value) keep([...new Set([...chosen(), add.value])]);
      add.value = "";
    } else if (target === size) {
      table.style.setProperty("--side", `${size.value}px`);
      place.write({ size: size.value }, false);
    } else place.write({ panel: panel.value }, true);
  });
  addEventListener("hashchange", draw);
  box.hidden = false;
  draw();
});
