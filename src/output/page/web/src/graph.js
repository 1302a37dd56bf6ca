// Graphs: nodes by layer and position, edges by weight; moved by dragging, enlarged by the wheel, a node picked.

import { css, ofSeries, readableOn, scaleOf } from "./colours.js";
import { el, token } from "./dom.js";
import { number, read } from "./number.js";
import { numbers, readout } from "./parts.js";

const [WIDE, TALL, ROOM] = [92, 26, 44];
const svg = (tag, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

/** Draws a graph into `root`. `state` keeps what is seen of it from run to run. */
export function drawGraph(root, picture, state) {
  const nodes = picture.nodes.map((node) => ({ ...node, value: node.value == null ? null : read(node.value) }));
  const edges = picture.edges.map((edge) => ({ ...edge, weight: read(edge.weight) }));
  const { line, show } = readout("Pick a node to see its edges; drag to move, turn the wheel or press + and − to enlarge.");
  const name = (i) => token(nodes[i].label || String(i));
  const layer = (at) => picture.layers?.[at] ?? `layer ${at}`;

  // Nodes of one layer and position stand beside each other.
  const sorted = (of) => [...new Set(nodes.map(of))].sort((a, b) => a - b);
  const [layers, positions] = [sorted((node) => node.layer), sorted((node) => node.position)];
  const cells = new Map();
  for (const [i, node] of nodes.entries()) {
    const id = `${node.layer} ${node.position}`;
    if (!cells.has(id)) cells.set(id, []);
    cells.get(id).push(i);
  }
  const widths = positions.map((p) => Math.max(1, ...layers.map((l) => cells.get(`${l} ${p}`)?.length ?? 0)));
  const starts = widths.map((_, i) => widths.slice(0, i).reduce((sum, w) => sum + w * (WIDE + 10) + 24, 90));
  const at = nodes.map((node, i) => {
    const column = positions.indexOf(node.position);
    const own = cells.get(`${node.layer} ${node.position}`).indexOf(i);
    return [starts[column] + own * (WIDE + 10) + WIDE / 2, (layers.length - 1 - layers.indexOf(node.layer)) * (TALL + ROOM) + TALL];
  });
  const size = [starts.at(-1) + widths.at(-1) * (WIDE + 10) + 10, layers.length * (TALL + ROOM) + 30];
  const scale = scaleOf(nodes.map((node) => node.value ?? NaN));
  const heaviest = Math.max(...edges.map((edge) => Math.abs(edge.weight)).filter(Number.isFinite), 1e-300);

  const lines = edges.map((edge) => {
    const [[x1, y1], [x2, y2]] = [at[edge.from], at[edge.to]];
    const middle = (y1 + y2) / 2;
    return svg("path", {
      d: `M${x1} ${y1 - TALL / 2} C${x1} ${middle} ${x2} ${middle} ${x2} ${y2 + TALL / 2}`, fill: "none", class: "edge",
      stroke: ofSeries(edge.weight < 0 ? 1 : 0, 2), "stroke-width": 0.6 + 4 * (Math.abs(edge.weight) / heaviest),
    });
  });
  const boxes = nodes.map((node, i) => {
    const [x, y] = at[i];
    const box = svg("rect", { x: x - WIDE / 2, y: y - TALL / 2, width: WIDE, height: TALL, rx: 5 });
    const text = svg("text", { x, y: y + 4, "text-anchor": "middle" }, name(i).length > 13 ? `${name(i).slice(0, 12)}…` : name(i));
    if (node.value != null) {
      const ground = scale.colour(node.value);
      box.style.fill = css(ground);
      text.style.fill = readableOn(ground);
    }
    const group = svg("g", { class: "node", tabindex: "0", role: "button", "aria-label": says(i), "aria-pressed": "false" }, box, text);
    group.addEventListener("click", () => pick(i));
    group.addEventListener("pointerenter", () => show(says(i)));
    group.addEventListener("focus", () => show(says(i)));
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(i); }
    });
    return group;
  });
  const names = [
    ...layers.map((l, i) => svg("text", { x: 4, y: (layers.length - 1 - i) * (TALL + ROOM) + TALL + 4, class: "name" }, token(picture.layers?.[l] ?? `layer ${l}`))),
    ...positions.map((p, i) => svg("text", { x: starts[i] + (widths[i] * (WIDE + 10)) / 2, y: size[1] - 8, class: "name", "text-anchor": "middle" }, token(picture.positions?.[p] ?? String(p)))),
  ];
  const drawing = svg("svg", { class: "graph", tabindex: "0", role: "group", "aria-label": `${picture.about}` }, ...lines, ...boxes, ...names);
  const view = (state.view ??= [0, 0, ...size]);
  const look = () => drawing.setAttribute("viewBox", view.join(" "));
  look();

  function says(i) {
    const node = nodes[i];
    const count = (end) => edges.filter((edge) => edge[end] === i).length;
    return `${name(i)}, ${layer(node.layer)}, position ${picture.positions?.[node.position] ?? node.position}${node.value == null ? "" : `: ${number(node.value)}`}; ${count("to")} edges in, ${count("from")} out`;
  }
  function pick(i) {
    state.picked = state.picked === i ? null : i;
    choose();
  }
  function choose() {
    const { picked } = state;
    const beside = new Set([picked]);
    edges.forEach((edge, e) => {
      const touches = edge.from === picked || edge.to === picked;
      if (touches) { beside.add(edge.from); beside.add(edge.to); }
      lines[e].classList.toggle("away", picked != null && !touches);
    });
    boxes.forEach((box, i) => {
      box.classList.toggle("away", picked != null && !beside.has(i));
      box.setAttribute("aria-pressed", String(i === picked));
    });
    if (picked == null || !nodes[picked]) return show("");
    const own = edges.filter((edge) => edge.from === picked || edge.to === picked).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 6);
    show(`${says(picked)}: ${own.map((edge) => `${name(edge.from)} → ${name(edge.to)} ${number(edge.weight)}`).join(", ")}`);
  }
  function zoom(factor, x = 0.5, y = 0.5) {
    const next = Math.min(size[0] * 2, Math.max(120, view[2] * factor));
    const by = next / view[2];
    view[0] += view[2] * x * (1 - by);
    view[1] += view[3] * y * (1 - by);
    view[2] *= by;
    view[3] *= by;
    look();
  }
  drawing.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== drawing && !drawing.contains(document.activeElement)) return;
    event.preventDefault();
    const box = drawing.getBoundingClientRect();
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }, { passive: false });
  let drag = null;
  drawing.addEventListener("pointerdown", (event) => { drag = [event.clientX, event.clientY, view[0], view[1]]; });
  drawing.addEventListener("pointermove", (event) => {
    if (!drag || !event.buttons) return;
    const share = view[2] / drawing.getBoundingClientRect().width;
    view[0] = drag[2] - (event.clientX - drag[0]) * share;
    view[1] = drag[3] - (event.clientY - drag[1]) * share;
    look();
  });
  drawing.addEventListener("pointerup", () => { drag = null; });
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] }[event.key];
    if (step) { view[0] += step[0]; view[1] += step[1]; look(); } else if (event.key === "+") zoom(1 / 1.2); else if (event.key === "-") zoom(1.2); else return;
    event.preventDefault();
  });
  const button = (label, text, click) => el("button", { type: "button", "aria-label": label, click }, text);
  root.append(drawing, el("p", { class: "beside" }, button("Enlarge", "+", () => zoom(1 / 1.2)), button("Shrink", "−", () => zoom(1.2)),
    button("See all", "See all", () => { view.splice(0, 4, 0, 0, ...size); look(); })), line);
  root.append(numbers(["from", "to", "weight"], () => edges.map((edge) => [name(edge.from), name(edge.to), edge.weight])));
  if (state.picked != null) choose();
  return () => {};
}
