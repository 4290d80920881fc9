// Filters over tables, and the order of their rows, kept in the address. Sorting itself is sortable.min.js's.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { place } = deepinside;

  function fits(row, words, choices) {
    const text = row.textContent.toLowerCase();
    const values = new URLSearchParams(row.dataset.values || "");
    return words.every((word) => text.includes(word)) && choices.every(([key, value]) => values.getAll(key).includes(value));
  }

  function filter(form, table) {
    const given = [...new FormData(form)];
    const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const choices = given.filter(([key, value]) => key !== "q" && value);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !fits(row, words, choices);
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector(".count").textContent =
      shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
  }

  function sorted(table) {
    const head = table.tHead.querySelector("th[aria-sort]");
    return head ? `${head.cellIndex}${head.getAttribute("aria-sort") === "descending" ? "-" : ""}` : "";
  }

  function restore(form, table) {
    const now = place.read();
    for (const field of form.elements) if (field.name) field.value = now.get(field.name) || "";
    filter(form, table);
    const wanted = now.get("sort") || "";
    const button = table.tHead.rows[0].cells[parseInt(wanted, 10)]?.querySelector("button");
    for (let i = 0; button && i < 2 && sorted(table) !== wanted; i++) button.click();
  }

  for (const form of document.querySelectorAll("form.filter[data-table]")) {
    const table = document.getElementById(form.dataset.table);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      filter(form, table);
      place.write({ [event.target.name]: event.target.value }, event.target.tagName === "SELECT");
    });
    // the reader's own clicks, not those of `restore`: what comes of them may come after the next step back
    document.addEventListener("click", (event) => {
      if (event.isTrusted && table.tHead.contains(event.target)) place.write({ sort: sorted(table) }, true);
    });
    addEventListener("hashchange", () => restore(form, table));
    restore(form, table);
  }
});
