// What several pictures have: a line that reads a value out, the key of a scale, the numbers as a table.

import { el, token } from "./dom.js";
import { css } from "./colours.js";
import { number } from "./number.js";

/** The line below a picture that says what is pointed at. */
export function readout(hint) {
  const line = el("p", { class: "readout" }, hint);
  return { line, show: (text) => { line.title = line.textContent = text || hint; } };
}

/** The key of a colour scale. */
export function key(scale) {
  const steps = scale.lo === scale.hi ? 1 : 24;
  const cells = [];
  for (let i = 0; i < steps; i += 1) {
    const cell = el("i");
    cell.style.background = css(scale.at((i + 0.5) / steps));
    cells.push(cell);
  }
  const label = `Colours from ${number(scale.lo)} to ${number(scale.hi)}`;
  return el("div", { class: "key", role: "img", "aria-label": label },
    el("span", {}, number(scale.lo)), el("span", { class: "ramp" }, cells), el("span", {}, number(scale.hi)));
}

const SHOWN = 400;

/** The numbers of a picture as a table, made when it is opened: `head` and a function that gives rows. */
export function numbers(head, rows) {
  const details = el("details", { class: "numbers" }, el("summary", {}, "The numbers"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    const all = rows();
    const body = all.slice(0, SHOWN).map((row) =>
      el("tr", {}, row.map((cell, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, typeof cell === "number" ? number(cell) : token(cell)))));
    details.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers" },
      el("table", {}, el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, token(name))))), el("tbody", {}, body))));
    if (all.length > SHOWN) details.append(el("p", {}, `${all.length - SHOWN} more rows are in the file.`));
  });
  return details;
}

/** What a picture remembers while another run replaces it: `kept.zoom`, `kept.head`, … */
const memory = new Map();
export function kept(name) {
  if (!memory.has(name)) memory.set(name, {});
  return memory.get(name);
}
