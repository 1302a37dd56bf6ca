// Draws what a page's data has into the places that its HTML leaves for it.

import { drawAttention } from "./attention.js";
import { copyable, highlight } from "./code.js";
import { el } from "./dom.js";
import { drawGraph } from "./graph.js";
import { drawHeatmap } from "./grid.js";
import { kept } from "./parts.js";
import { drawPlot } from "./plot.js";
import { drawTable } from "./table.js";
import { drawText } from "./text.js";

const PICTURES = {
  line: drawPlot, bars: drawPlot, boxes: drawPlot, heatmap: drawHeatmap, attention: drawAttention, text: drawText, graph: drawGraph,
};

/** The data of a page, or of one that was fetched. */
export function dataOf(page) {
  const data = JSON.parse(page.getElementById("data").textContent);
  if (data.version !== 1) throw new Error(`This page's data is of version ${data.version}, which its script does not know.`);
  return data;
}

/** Draws an item into its place, once. Returns what ends it. */
export function drawItem(place, item, name) {
  if (place.dataset.drawn) return () => {};
  place.dataset.drawn = "yes";
  const root = el("div", { class: "drawn" });
  place.append(root);
  try {
    if (item.item === "table") return drawTable(root, item, kept(name), name);
    const draw = Object.hasOwn(PICTURES, item.picture) ? PICTURES[item.picture] : null;
    if (!draw) throw new Error(`this page draws no ${String(item.picture)}`);
    return draw(root, item, kept(name));
  } catch (error) {
    console.warn(error);
    root.replaceChildren(el("p", { class: "failed" }, `This can't be drawn: ${error.message}`));
    return () => {};
  }
}

/** What an item is called: its file, or its place among the tables. */
export function nameOf(items, i) {
  const item = items[i];
  if (item.item === "picture") return item.file;
  const tables = items.filter((other) => other?.item === "table");
  return tables.length > 1 ? `table ${tables.indexOf(item) + 1}` : "the table";
}

/** Draws all that `page` has a place for. Returns what ends them. */
export function drawAll(page, data) {
  const ends = [];
  for (const place of page.querySelectorAll("[data-item]")) {
    const item = data.items[Number(place.dataset.item)];
    if (!item) continue;
    place.dataset.name = nameOf(data.items, Number(place.dataset.item));
    ends.push(drawItem(place, item, place.dataset.name));
  }
  return () => ends.forEach((end) => end());
}

/** Colours scripts, and adds buttons that copy commands. */
export function dress(page) {
  page.querySelectorAll("pre.script code").forEach(highlight);
  page.querySelectorAll("pre.command").forEach(copyable);
}
