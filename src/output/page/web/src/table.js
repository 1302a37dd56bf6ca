// Tables: sorted by a click on a column, filtered by a text.

import { el, say, token } from "./dom.js";
import { number } from "./number.js";

const PAGE = 200;

const words = (cell) => (cell == null ? "" : typeof cell === "object" ? JSON.stringify(cell) : typeof cell === "number" ? number(cell) : String(cell));

/** Draws a table into `root`. `state` keeps its order and filter from run to run. */
export function drawTable(root, { columns, rows }, state, name = "Table") {
  state.shown ??= PAGE;
  const body = el("tbody");
  const count = el("span", { class: "count" });
  const more = el("button", { type: "button", click: () => { state.shown += PAGE * 5; fill(); } }, "Show more");
  const head = columns.map((column, i) => {
    const button = el("button", { type: "button", click: () => {
      state.down = state.by === i ? !state.down : false;
      state.by = i;
      fill();
      say(`Sorted by ${column}, ${state.down ? "descending" : "ascending"}.`);
    } }, token(column));
    return el("th", { scope: "col", "aria-sort": "none" }, button);
  });
  const filter = el("input", { type: "search", "aria-label": `Rows of ${name} that have this text`, placeholder: "Filter rows", input: () => {
    state.filter = filter.value;
    fill();
  } });
  filter.value = state.filter ?? "";

  function fill() {
    const wanted = (state.filter ?? "").toLowerCase();
    let list = wanted ? rows.filter((row) => row.some((cell) => words(cell).toLowerCase().includes(wanted))) : rows;
    if (state.by != null && state.by < columns.length) {
      const sign = state.down ? -1 : 1;
      list = [...list].sort((a, b) => sign * compare(a[state.by], b[state.by]));
    }
    head.forEach((th, i) => th.setAttribute("aria-sort", i === state.by ? (state.down ? "descending" : "ascending") : "none"));
    body.replaceChildren(...list.slice(0, state.shown).map((row) => el("tr", {}, row.map((cell) =>
      el("td", { class: typeof cell === "number" ? "number" : null, title: typeof cell === "number" && number(cell) !== String(cell) ? String(cell) : null }, token(words(cell)).replace(/^∅$/, ""))))));
    count.textContent = list.length === rows.length ? `${rows.length} rows` : `${list.length} of ${rows.length} rows`;
    more.hidden = list.length <= state.shown;
  }

  root.append(el("p", { class: "beside" }, rows.length > 5 ? filter : null, count));
  root.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, el("table", {}, el("thead", {}, el("tr", {}, head)), body)), more);
  fill();
  return () => {};
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  const numeric = (cell, value) => cell !== null && cell !== "" && !Number.isNaN(value);
  if (numeric(a, x) && numeric(b, y)) return x - y;
  return words(a).localeCompare(words(b), undefined, { numeric: true });
}
