// Tokens on the colours of their numbers.

import { css, readableOn, scaleOf } from "./colours.js";
import { el, token } from "./dom.js";
import { lost, number, readAll } from "./number.js";
import { key, numbers, readout } from "./parts.js";

/** Draws coloured tokens into `root`. */
export function drawText(root, picture) {
  const values = readAll(picture.values);
  const scale = scaleOf(values);
  const { line, show } = readout("Point at a token to read its number.");
  const label = (row) => picture.rows?.[row] ?? (values.length > 1 ? String(row) : "");
  const says = (row, i) => `${label(row) ? `${token(label(row))}: ` : ""}${token(picture.tokens[i])} (${i}): ${number(values[row][i])}`;
  values.forEach((numbersOf, row) => {
    const spans = picture.tokens.map((text, i) => {
      const ground = scale.colour(numbersOf[i]);
      const span = el("span", { title: number(numbersOf[i]), "data-at": i }, token(text));
      span.style.background = css(ground);
      span.style.color = readableOn(ground);
      return span;
    });
    const tokens = el("div", { class: "tokens coloured", dir: "auto", tabindex: "0", role: "group", "aria-label": `${label(row)} ${picture.about} Arrow keys read the tokens.` }, spans);
    let at = -1;
    const point = (i) => {
      spans[at]?.classList.remove("at");
      at = i;
      spans[at]?.classList.add("at");
      show(at < 0 ? "" : says(row, at));
    };
    tokens.addEventListener("pointerover", (event) => point(event.target.dataset.at == null ? -1 : Number(event.target.dataset.at)));
    tokens.addEventListener("pointerleave", () => point(-1));
    tokens.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      point(Math.min(spans.length - 1, Math.max(0, at + step)));
    });
    root.append(label(row) ? el("p", { class: "axis" }, token(label(row))) : "", tokens);
  });
  root.append(key(scale), line, el("p", { class: "beside" }, lost(values)));
  root.append(numbers(["token", ...values.map((_, row) => label(row) || "value")], () => picture.tokens.map((text, i) => [text, ...values.map((row) => row[i])])));
  return () => {};
}
