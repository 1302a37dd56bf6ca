// Attention: every head in small, one of them in large, and the tokens, of which one can be picked.

import { css, readableOn, scaleOf } from "./colours.js";
import { el, sized, token } from "./dom.js";
import { grid, places } from "./grid.js";
import { lost, number, readAll } from "./number.js";
import { key, numbers, readout } from "./parts.js";

/** Draws attention into `root`. `state` keeps the head and the token from run to run. */
export function drawAttention(root, picture, state) {
  const heads = readAll(picture.heads);
  const [n, m] = [heads[0].length, heads[0][0].length];
  const [queries, keys] = [places(picture.tokens, n), places(picture.keys, m)];
  const scale = scaleOf(heads, { zero: true });
  const { line, show } = readout("Pick a head; point at a cell, or pick a token to see what it looks at.");
  let head = Math.min(state.head ?? 0, heads.length - 1);
  let query = state.query != null && state.query < n ? state.query : null;
  let made = null;

  const chooser = el("div", { class: "heads", role: "group", "aria-label": "Heads" });
  heads.forEach((values, h) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const step = Math.max(1, Math.ceil(Math.max(n, m) / 48));
    const ctx = sized(canvas, 48, 48);
    const [rows, columns] = [Math.ceil(n / step), Math.ceil(m / step)];
    for (let i = 0; i < rows; i += 1) {
      for (let j = 0; j < columns; j += 1) {
        ctx.fillStyle = css(scale.colour(values[i * step][j * step]));
        ctx.fillRect((j * 48) / columns, (i * 48) / rows, 48 / columns + 0.5, 48 / rows + 0.5);
      }
    }
    chooser.append(el("button", { type: "button", "aria-pressed": String(h === head), click: () => pickHead(h) }, canvas, el("span", {}, `head ${h}`)));
  });
  const large = el("div");
  const row = (labels, name, pick) => el("div", { class: "tokens", role: "group", "aria-label": name },
    labels.map((label, i) => pick ? el("button", { type: "button", "aria-pressed": "false", click: () => pick(i) }, token(label)) : el("span", {}, token(label))));
  const from = row(queries, "Tokens that look", pickQuery);
  const to = row(keys, "Tokens that are looked at");
  const said = el("p", { class: "readout", role: "status" });

  function pickHead(h) {
    head = state.head = h;
    [...chooser.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === h)));
    made?.stop();
    made = grid({
      values: heads[h], x: keys, y: queries, scale, show, about: `Head ${h}. ${picture.about}`, onPick: pickQuery,
      says: (i, j) => `head ${h}: ${token(queries[i])} (${i}) → ${token(keys[j])} (${j}): ${number(heads[h][i][j])}`,
    });
    large.replaceChildren(made.holder);
    made.fit();
    colourKeys();
  }
  function pickQuery(i) {
    query = state.query = query === i ? null : i;
    colourKeys();
  }
  function colourKeys() {
    [...from.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === query)));
    [...to.children].forEach((span, j) => {
      const ground = query == null ? null : scale.colour(heads[head][query][j]);
      span.style.background = ground ? css(ground) : "";
      span.style.color = ground ? readableOn(ground) : "";
      span.title = query == null ? "" : number(heads[head][query][j]);
    });
    if (query == null) return void (said.textContent = "");
    const best = heads[head][query].map((value, j) => [value, j]).filter(([value]) => Number.isFinite(value)).sort((a, b) => b[0] - a[0]).slice(0, 3);
    said.textContent = `head ${head}, ${token(queries[query])} looks most at ${best.map(([value, j]) => `${token(keys[j])} (${j}) ${number(value)}`).join(", ")}`;
  }

  root.append(chooser, large, line, key(scale), el("p", { class: "axis" }, "From"), from, el("p", { class: "axis" }, "to"), to, said);
  root.append(el("p", { class: "beside" }, lost(heads)));
  root.append(numbers(["head", "from", "to", "weight"], () => heads[head].flatMap((values, i) => values.map((value, j) => [String(head), queries[i], keys[j], value]))));
  pickHead(head);
  return () => made?.stop();
}
