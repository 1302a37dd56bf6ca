// Heatmaps: cells on a canvas, with labels beside them, read by pointing or by arrow keys.

import { css, readableOn, scaleOf } from "./colours.js";
import { colour, el, onLight, onWidth, sized, token } from "./dom.js";
import { lost, number, readAll } from "./number.js";
import { key, numbers, readout } from "./parts.js";

const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2))}…${text.slice(-Math.floor(most / 2 - 1))}`);

/**
 * A grid of coloured cells: `{values, x, y, scale, text, says, about, onPick, picked}`. Returns its element,
 * and functions that draw it anew and end it.
 */
export function grid({ values, x, y, scale, text, says, about, show, onPick, small }) {
  const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": `${about} Arrow keys read its cells.` });
  const holder = el("div", { class: "grid" }, canvas);
  const [rows, columns] = [values.length, values[0]?.length ?? 0];
  let at = null;
  let layout = null;

  function draw(width) {
    const names = (labels, most) => labels.map((label) => cut(token(label), most));
    const [left, below] = [names(y, small ? 8 : 14), names(x, small ? 8 : 14)];
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = "12px ui-monospace, monospace";
    const widest = (labels) => Math.ceil(Math.max(8, ...labels.map((label) => measure.measureText(label).width)));
    const margin = Math.min(widest(left) + 8, width * 0.4);
    const cell = Math.max(1, Math.min((width - margin - 2) / columns, small ? 22 : 64));
    const tall = Math.max(1, Math.min(cell, small ? 22 : 34, Math.max(10, 640 / rows)));
    const upright = widest(below) + 4 > cell;
    const foot = upright ? Math.min(widest(below), 110) + 10 : 20;
    const [across, down] = [cell * columns, tall * rows];
    const ctx = sized(canvas, Math.ceil(margin + across + 2), Math.ceil(down + foot));
    layout = { margin, cell, tall, across, down, width };
    ctx.font = measure.font;
    ctx.textBaseline = "middle";
    for (let i = 0; i < rows; i += 1) {
      for (let j = 0; j < columns; j += 1) {
        const ground = scale.colour(values[i][j]);
        ctx.fillStyle = css(ground);
        ctx.fillRect(margin + j * cell, i * tall, cell + 0.5, tall + 0.5);
        const inside = text?.[i]?.[j] ?? (cell >= 40 && rows * columns <= 400 ? short(values[i][j]) : null);
        if (inside != null && tall >= 14) {
          ctx.fillStyle = readableOn(ground);
          ctx.textAlign = "center";
          ctx.fillText(cut(token(inside), Math.max(2, Math.floor(cell / 7.5))), margin + (j + 0.5) * cell, (i + 0.5) * tall);
        }
      }
    }
    ctx.fillStyle = colour("--ink");
    ctx.textAlign = "right";
    const everyRow = Math.ceil(13 / tall);
    left.forEach((label, i) => { if (i % everyRow === 0) ctx.fillText(label, margin - 5, (i + 0.5) * tall, margin - 6); });
    const everyColumn = Math.ceil((upright ? 13 : widest(below) + 6) / cell);
    below.forEach((label, j) => {
      if (j % everyColumn) return;
      ctx.save();
      ctx.translate(margin + (j + 0.5) * cell, down + (upright ? 6 : 11));
      if (upright) ctx.rotate(-Math.PI / 2);
      ctx.textAlign = upright ? "right" : "center";
      ctx.fillText(label, 0, 0);
      ctx.restore();
    });
    if (at) {
      ctx.strokeStyle = colour("--accent");
      ctx.lineWidth = 2;
      ctx.strokeRect(margin + at[1] * cell + 1, at[0] * tall + 1, Math.max(2, cell - 2), Math.max(2, tall - 2));
    }
  }

  function point(row, column) {
    const next = row == null ? null : [row, column];
    if (String(next) === String(at)) return;
    at = next;
    show(at ? says(row, column) : "");
    if (layout) draw(layout.width);
  }

  canvas.addEventListener("pointermove", (event) => {
    const [row, column] = under(event);
    point(row, column);
  });
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("click", (event) => {
    const [row, column] = under(event);
    point(row, column);
    if (row != null) onPick?.(row, column);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = at ?? [0, -step[1]];
    point(Math.min(rows - 1, Math.max(0, row + (at ? step[0] : 0))), Math.min(columns - 1, Math.max(0, column + step[1])));
  });
  function under(event) {
    if (!layout) return [null];
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - layout.margin) / layout.cell);
    const row = Math.floor((event.clientY - box.top) / layout.tall);
    return row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : [null];
  }
  const stops = [onWidth(holder, draw), onLight(() => layout && draw(layout.width))];
  // Once it is on the page, before that is seen: what is below it would jump.
  const fit = () => holder.clientWidth > 0 && draw(Math.floor(holder.clientWidth));
  return { holder, fit, stop: () => stops.forEach((stop) => stop()) };
}

function short(x) {
  const size = Math.abs(x);
  if (Number.isFinite(x) && !Number.isInteger(x) && size >= 0.01 && size < 1000) return x.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0);
  return number(x);
}

/** The labels of places: their own, or their indices. */
export const places = (labels, count) => Array.from({ length: count }, (_, i) => labels?.[i] ?? String(i));

/** Draws a heatmap into `root`. */
export function drawHeatmap(root, picture) {
  const values = readAll(picture.values);
  const [x, y] = [places(picture.x, values[0]?.length ?? 0), places(picture.y, values.length)];
  const bound = (value) => (value == null ? null : Number(value));
  const scale = scaleOf(values, { min: bound(picture.bounds?.min), max: bound(picture.bounds?.max) });
  const text = picture.text?.length ? picture.text : null;
  const { line, show } = readout("Point at a cell to read it.");
  const named = (name, label) => `${name ? `${name} ` : ""}${token(label)}`;
  const says = (i, j) => `${named(picture.ylabel, y[i])}, ${named(picture.xlabel, x[j])}: ${number(values[i][j])}${text?.[i]?.[j] ? ` (${token(text[i][j])})` : ""}`;
  const made = grid({ values, x, y, scale, text, says, about: picture.about, show });
  root.append(picture.ylabel ? el("p", { class: "axis" }, picture.ylabel) : "", made.holder, picture.xlabel ? el("p", { class: "axis across" }, picture.xlabel) : "", key(scale), line);
  root.append(el("p", { class: "beside" }, lost(values)));
  root.append(numbers([picture.ylabel || "row", ...x], () => values.map((row, i) => [y[i], ...row])));
  made.fit();
  return made.stop;
}
