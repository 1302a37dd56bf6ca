// Lines, points, bars, histograms and boxes, on uPlot's axes.

import uPlot from "uplot";

import { ofSeries } from "./colours.js";
import { colour, el, onLight, onWidth, token } from "./dom.js";
import { lost, number, read, readAll } from "./number.js";
import { numbers, readout } from "./parts.js";

/** Draws a plot into `root`. `state` keeps the zoom and the hidden series from run to run. */
export function drawPlot(root, picture, state) {
  const kinds = { line: ofLines, bars: ofBars, boxes: ofBoxes };
  const plot = kinds[picture.picture](picture);
  const hint = "Point at the picture to read a value; drag to zoom, double-click to see all again.";
  const { line, show } = readout(hint);
  const place = el("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `${picture.about} Arrow keys read its values.` });
  root.append(place);
  const hidden = (state.hidden ??= new Set());
  let chart = null;
  let width = 0;

  const axis = (name, label, extra) => ({
    stroke: colour("--faint"), label: label || undefined, labelSize: 22, labelFont: "14px system-ui, sans-serif",
    font: "12px system-ui, sans-serif", grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1, size: 5 }, ...extra,
  });

  function make() {
    const zoom = state.zoom;
    chart?.destroy();
    const series = plot.series.map((one, i) => ({
      label: one.label, show: !hidden.has(one.label || String(i)), stroke: ofSeries(i, plot.series.length), width: 2,
      points: { show: plot.dots, size: 6, fill: ofSeries(i, plot.series.length) }, paths: plot.paths, spanGaps: false,
    }));
    const span = (u, min, max) => (plot.range ? plot.range : zoomed(min, max, plot.logX));
    chart = new uPlot({
      width, height: Math.round(Math.min(420, Math.max(240, width * 0.6))),
      legend: { show: false },
      cursor: { drag: { x: true, y: true, uni: 24 }, points: { show: !plot.paint }, focus: { prox: 24 } },
      focus: { alpha: 1 },
      scales: {
        x: { time: false, distr: plot.logX ? 3 : 1, range: span },
        y: { distr: plot.logY ? 3 : 1, range: (u, min, max) => plot.rangeY?.(min, max) ?? zoomed(min, max, plot.logY) },
      },
      axes: [
        axis("x", picture.xlabel, { values: plot.names ? (u, splits) => splits.map((at) => nameAt(plot.names, at, width)) : (u, splits) => splits.map(tick),
          splits: plot.names ? () => plot.names.map((_, i) => i) : undefined, grid: plot.names ? { show: false } : undefined, size: 34 }),
        axis("y", picture.ylabel, { values: (u, splits) => splits.map(tick), size: 56 }),
      ],
      series: [{}, ...series],
      hooks: {
        draw: plot.paint ? [(u) => plot.paint(u, hidden)] : [],
        setCursor: [(u) => show(u.cursor.idx == null ? "" : plot.says(u.cursor.idx, nearest(u, hidden)))],
        setScale: [(u, name) => {
          const { min, max } = u.scales[name];
          if (u.status === 1 && min != null) (state.zoom ??= {})[name] = [min, max];
        }],
      },
    }, plot.data, place);
    if (zoom && state.kind === plot.kind) {
      for (const name of ["x", "y"]) if (zoom[name] && state.zoomed) chart.setScale(name, { min: zoom[name][0], max: zoom[name][1] });
    }
    state.kind = plot.kind;
    chart.over.addEventListener("mouseup", () => setTimeout(() => { state.zoomed = true; }));
    chart.over.addEventListener("dblclick", () => { state.zoomed = false; });
  }

  const legend = el("div", { class: "legend", role: "group", "aria-label": "Series" });
  if (plot.series.length > 1 || plot.series.some((one) => one.label)) {
    plot.series.forEach((one, i) => {
      const id = one.label || String(i);
      const swatch = el("i", { "aria-hidden": "true" });
      swatch.style.background = ofSeries(i, plot.series.length);
      legend.append(el("button", { type: "button", "aria-pressed": String(!hidden.has(id)), click: (event) => {
        const button = event.currentTarget;
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        if (shown) hidden.delete(id); else hidden.add(id);
        chart?.setSeries(i + 1, { show: shown });
      } }, swatch, token(one.label || String(i))));
    });
  }
  const all = el("button", { type: "button", class: "all", click: () => { state.zoom = undefined; state.zoomed = false; make(); } }, "See all");

  let at = -1;
  place.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    const count = plot.data[0].length;
    if (step) at = Math.min(count - 1, Math.max(0, at + step));
    else if (event.key === "Home") at = 0;
    else if (event.key === "End") at = count - 1;
    else return;
    event.preventDefault();
    const left = chart.valToPos(plot.data[0][at], "x");
    chart.setCursor({ left, top: chart.over.clientHeight / 2 });
    line.textContent = plot.says(at, null);
    line.setAttribute("role", "status");
  });

  const stopWidth = onWidth(root, (now) => {
    width = now;
    make();
  });
  const stopLight = onLight(make);
  root.append(legend, line, el("p", { class: "beside" }, all, lost(plot.all), picture.thinned_from ? ` ${plot.data[0].length} of ${picture.thinned_from} points are drawn; the extremes are among them.` : ""));
  root.append(numbers(plot.head, plot.rows));
  return () => { stopWidth(); stopLight(); chart?.destroy(); };
}

const tick = (value) => (value == null ? "" : number(value));

function nameAt(names, at, width) {
  if (!Number.isInteger(at) || names[at] == null) return "";
  const room = Math.max(1, Math.floor((width - 70) / 7 / names.length));
  const every = Math.ceil(3 / room);
  if (at % every) return "";
  const name = token(names[at]);
  return name.length <= room * every ? name : `${name.slice(0, Math.max(1, room * every - 1))}…`;
}

/** A range with a little room around it. */
function zoomed(min, max, log) {
  if (min == null) return log ? [1, 10] : [0, 1];
  if (log) return min === max ? [min / 2, max * 2] : [min / 1.1, max * 1.1];
  const room = max / 2 === min / 2 ? Math.abs(max) * 0.1 || 1 : (max / 2 - min / 2) * 0.05;
  return [min - room, max + room];
}

/** The series that is nearest to the cursor, by its index among the plot's. */
function nearest(u, hidden) {
  let [best, distance] = [null, Infinity];
  for (let i = 1; i < u.series.length; i += 1) {
    const value = u.data[i]?.[u.cursor.idx];
    if (value == null || !u.series[i].show) continue;
    const far = Math.abs(u.valToPos(value, "y") - u.cursor.top);
    if (far < distance) [best, distance] = [i - 1, far];
  }
  return best;
}

function ofLines(picture) {
  const [logX, logY] = [picture.log_x, picture.log_y];
  const place = (value, log) => (Number.isFinite(value) && (!log || value > 0) ? value : null);
  const xs = readAll(picture.x);
  const kept = xs.map((x, i) => i).filter((i) => place(xs[i], logX) != null);
  // uPlot looks values up in sorted ones; a line that goes back and forth is drawn in its own order.
  const order = [...kept].sort((a, b) => xs[a] - xs[b]);
  const ordered = kept.every((i, at) => at === 0 || xs[kept[at - 1]] <= xs[i]);
  const all = picture.series.map((one) => readAll(one.y));
  const data = [order.map((i) => xs[i]), ...all.map((y) => order.map((i) => place(y[i], logY)))];
  const scatter = picture.kind === "scatter";
  const back = new Map(order.map((i, at) => [i, at]));
  const inOrder = (u, s) => {
    const path = new Path2D();
    let pen = false;
    for (const i of kept) {
      const at = back.get(i);
      const y = data[s][at];
      if (y == null) { pen = false; continue; }
      const point = [u.valToPos(data[0][at], "x", true), u.valToPos(y, "y", true)];
      if (pen) path.lineTo(...point); else path.moveTo(...point);
      pen = true;
    }
    return { stroke: path, fill: null };
  };
  return {
    kind: picture.kind, logX, logY, data, series: picture.series, all: [xs, all], dots: scatter || order.length <= 40,
    paths: scatter ? () => null : ordered ? undefined : inOrder,
    says: (at, near) => {
      const x = `${picture.xlabel || "x"} ${number(data[0][at])}`;
      const shown = near == null ? picture.series.map((_, i) => i).slice(0, 12) : [near];
      return `${x}: ${shown.map((i) => `${picture.series[i].label ? `${token(picture.series[i].label)} ` : ""}${data[i + 1][at] == null ? number(all[i][order[at]]) : number(data[i + 1][at])}`).join(", ")}`;
    },
    head: [picture.xlabel || "x", ...picture.series.map((one, i) => one.label || picture.ylabel || `y ${i}`)],
    rows: () => xs.map((x, i) => [number(x), ...all.map((y) => y[i])]),
  };
}

function ofBars(picture) {
  const edges = readAll(picture.edges);
  const all = picture.series.map((one) => readAll(one.y));
  const count = all[0]?.length ?? 0;
  const binned = edges.length > 0;
  const names = binned ? null : Array.from({ length: count }, (_, i) => picture.names[i] ?? String(i));
  const centre = (i) => (binned ? edges[i] / 2 + edges[i + 1] / 2 : i);
  const data = [all[0].map((_, i) => centre(i)), ...all.map((y) => y.map((value) => (Number.isFinite(value) ? value : null)))];
  const label = (i) => (binned ? `${number(edges[i])} … ${number(edges[i + 1])}` : token(names[i]));
  return {
    kind: binned ? "hist" : "bar", data, series: picture.series, all, names, dots: false, paths: () => null,
    range: binned ? [edges[0], edges.at(-1)] : [-0.6, count - 0.4],
    rangeY: (min, max) => {
      const [low, high] = [Math.min(0, min ?? 0), Math.max(0, max ?? 1)];
      const room = (high / 2 - low / 2) * 0.1 || 1;
      return [low < 0 ? low - room : 0, high > 0 ? high + room : 0];
    },
    paint: (u, hidden) => {
      const gap = binned ? 0 : 0.1;
      const shown = picture.series.map((_, i) => i).filter((i) => u.series[i + 1].show);
      const zero = u.valToPos(0, "y", true);
      clipped(u, (ctx) => shown.forEach((s, rank) => {
        ctx.fillStyle = ofSeries(s, picture.series.length);
        for (let i = 0; i < count; i += 1) {
          const value = data[s + 1][i];
          if (value == null) continue;
          const [from, to] = binned ? [edges[i], edges[i + 1]] : [i - 0.5 + gap, i + 0.5 - gap];
          const part = (share) => u.valToPos(from + (to - from) * share, "x", true);
          const [left, right] = [part(rank / shown.length), part((rank + 1) / shown.length)];
          const y = u.valToPos(value, "y", true);
          ctx.fillRect(left, Math.min(y, zero), Math.max(1, right - left - (binned ? 1 : 0)), Math.abs(y - zero));
        }
      }));
    },
    says: (at, near) => `${label(at)}: ${(near == null ? picture.series.map((_, i) => i) : [near]).map((i) => `${picture.series[i].label ? `${token(picture.series[i].label)} ` : ""}${number(all[i][at])}`).join(", ")}`,
    head: [picture.xlabel || (binned ? "interval" : "name"), ...picture.series.map((one, i) => one.label || picture.ylabel || `y ${i}`)],
    rows: () => all[0].map((_, i) => [label(i), ...all.map((y) => y[i])]),
  };
}

function ofBoxes(picture) {
  const boxes = picture.boxes.map((box) => ({
    label: box.label, count: box.count, low: read(box.low), q1: read(box.q1), median: read(box.median), q3: read(box.q3), high: read(box.high), outliers: readAll(box.outliers),
  }));
  const names = boxes.map((box, i) => box.label || String(i));
  const [least, most] = [Math.min(...boxes.flatMap((box) => [box.low, ...box.outliers])), Math.max(...boxes.flatMap((box) => [box.high, ...box.outliers]))];
  return {
    kind: "box", logY: picture.log_y, names, series: [{ label: "" }], dots: false, paths: () => null, all: [],
    data: [boxes.map((_, i) => i), boxes.map((box) => box.median)],
    range: [-0.6, boxes.length - 0.4],
    rangeY: () => zoomed(least, most, picture.log_y),
    paint: (u) => clipped(u, (ctx) => boxes.forEach((box, i) => {
      const x = (across) => u.valToPos(i + across, "x", true);
      const y = (value) => u.valToPos(value, "y", true);
      const ink = colour("--ink");
      ctx.strokeStyle = ink;
      ctx.lineWidth = window.devicePixelRatio || 1;
      const line = (...points) => { ctx.beginPath(); points.forEach((point, at) => (at ? ctx.lineTo(...point) : ctx.moveTo(...point))); ctx.stroke(); };
      line([x(0), y(box.low)], [x(0), y(box.high)]);
      line([x(-0.1), y(box.low)], [x(0.1), y(box.low)]);
      line([x(-0.1), y(box.high)], [x(0.1), y(box.high)]);
      ctx.fillStyle = ofSeries(0, 1);
      ctx.fillRect(x(-0.25), y(box.q3), x(0.25) - x(-0.25), Math.max(1, y(box.q1) - y(box.q3)));
      ctx.strokeRect(x(-0.25), y(box.q3), x(0.25) - x(-0.25), Math.max(1, y(box.q1) - y(box.q3)));
      ctx.lineWidth *= 3;
      line([x(-0.25), y(box.median)], [x(0.25), y(box.median)]);
      ctx.fillStyle = ink;
      for (const value of box.outliers) { ctx.beginPath(); ctx.arc(x(0), y(value), 2.5 * (window.devicePixelRatio || 1), 0, 7); ctx.fill(); }
    })),
    says: (at) => {
      const box = boxes[at];
      return `${token(names[at])}: median ${number(box.median)}, quartiles ${number(box.q1)} and ${number(box.q3)}, whiskers ${number(box.low)} and ${number(box.high)}, ${box.outliers.length} outside, of ${box.count}`;
    },
    head: ["box", "count", "low", "q1", "median", "q3", "high"],
    rows: () => boxes.map((box, i) => [names[i], box.count, box.low, box.q1, box.median, box.q3, box.high]),
  };
}

/** Paints within the axes. */
function clipped(u, paint) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  paint(ctx);
  ctx.restore();
}
