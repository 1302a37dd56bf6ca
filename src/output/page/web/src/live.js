// A script that runs as it is edited: follows the server's events, and puts new pictures into the old ones' places.

import { dataOf, drawItem, dress, nameOf } from "./draw.js";
import { el, say } from "./dom.js";

/** What is drawn, by name: its place, the JSON that it was drawn from, and what ends it. */
const drawn = new Map();
let run = 0;
let shown = null;
let asked = null;

const post = (what, body) => fetch(what, { method: "POST", body });

/** Follows the script. */
export function live() {
  const controls = document.getElementById("controls");
  const status = el("span", { class: "status" }, "Connecting …");
  const bar = el("progress", { "aria-label": "How far the run has come", hidden: true });
  const stop = el("button", { type: "button", click: () => post("stop") }, "Stop");
  const again = el("button", { type: "button", click: () => post("again") }, "Run again");
  const inputs = el("form", { class: "inputs", "aria-label": "Parameters", submit: (event) => event.preventDefault() });
  const error = el("pre", { class: "failed", role: "alert", hidden: true });
  const said = el("ul", { class: "said" });
  controls.append(el("p", { class: "beside" }, status, bar, stop, again), inputs, error, said);

  const source = new EventSource("events");
  source.onerror = () => { status.textContent = "The program has ended, or can't be reached: waiting for it."; };
  source.onmessage = async (event) => {
    shown = JSON.parse(event.data);
    const now = shown;
    status.textContent = now.running ? "Running …" : now.error ? (run ? "Failed; below are the results of the last good run." : "Failed.") : "Done; waiting for the script to be saved.";
    stop.disabled = !now.running;
    again.disabled = now.running;
    const [label, done, of] = now.progress ?? [];
    bar.hidden = !now.running || !now.progress;
    if (now.progress) {
      bar.max = of || 1;
      bar.value = done;
      if (now.running) status.textContent = `${label} ${done} of ${of}`;
    }
    if (!now.running) {
      error.hidden = !now.error;
      error.textContent = now.error ?? "";
    }
    parameters(inputs, now.parameters);
    if (now.run !== run && now.run !== asked) {
      asked = now.run;
      const answer = await fetch("page");
      if (answer.ok) show(await answer.text());
      else document.getElementById("page").replaceChildren(el("p", { class: "left-out" }, "The script has shown nothing yet: plot, table, note and save do."));
      run = now.run;
      said.replaceChildren(...now.said.map((line) => el("li", {}, line)));
      say("New results.");
      document.documentElement.dataset.run = String(run);
    }
  };
}

/** Puts a page's parts into the places of the last one's. */
function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const data = dataOf(page);
  document.title = page.title;
  const root = document.getElementById("page");
  const next = document.adoptNode(page.getElementById("items"));
  const names = new Set();
  for (const place of next.querySelectorAll("[data-item]")) {
    const at = Number(place.dataset.item);
    const item = data.items[at];
    if (!item) continue;
    let name = nameOf(data.items, at);
    while (names.has(name)) name += "'";
    names.add(name);
    place.dataset.name = name;
    const json = JSON.stringify(item);
    const before = drawn.get(name);
    if (before?.json === json) {
      before.place.dataset.item = String(at);
      place.replaceWith(before.place);
      continue;
    }
    before?.end();
    drawn.set(name, { json, place, end: () => {}, draw: item });
  }
  for (const [name, { end }] of drawn) {
    if (names.has(name)) continue;
    end();
    drawn.delete(name);
  }
  const parts = [page.querySelector("header"), next, page.getElementById("run")].filter(Boolean).map((part) => document.adoptNode(part));
  // The window does not jump while places are empty.
  const height = root.offsetHeight;
  root.style.minHeight = `${height}px`;
  root.replaceChildren(...parts);
  for (const [name, known] of drawn) {
    if (!known.draw) continue;
    known.end = drawItem(known.place, known.draw, name);
    known.draw = null;
  }
  dress(root);
  root.style.minHeight = "";
}

/** The inputs of the script's parameters. One that a person is in keeps what is in it. */
function parameters(form, list) {
  const known = [...form.querySelectorAll("[data-parameter]")].map((label) => label.dataset.parameter);
  if (JSON.stringify(known) !== JSON.stringify(list.map((it) => it.name + typeof it.default))) {
    form.replaceChildren(...list.map((it) => el("label", { "data-parameter": it.name + typeof it.default, title: it.help }, el("span", {}, it.name), ...inputsOf(form, it))));
  }
  for (const it of list) {
    for (const input of form.querySelectorAll("[data-name]")) {
      if (input.dataset.name !== it.name || input === document.activeElement) continue;
      const value = it.given ?? words(it.default);
      if (input.type === "checkbox") input.checked = value === "true";
      else input.value = value;
    }
  }
}

const words = (value) => (value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

function inputsOf(form, { name, default: start, help }) {
  let timer = 0;
  const changed = (event) => {
    const own = event.currentTarget;
    for (const other of form.querySelectorAll("[data-name]")) {
      if (other !== own && other.dataset.name === name) other.value = own.value;
    }
    clearTimeout(timer);
    timer = setTimeout(() => {
      const values = {};
      for (const input of form.querySelectorAll("[data-name]")) {
        const value = input.type === "checkbox" ? String(input.checked) : input.value;
        const parameter = shown.parameters.find((it) => it.name === input.dataset.name);
        if (parameter && value !== words(parameter.default)) values[input.dataset.name] = value;
      }
      post("parameters", JSON.stringify(values));
    }, own.type === "text" ? 400 : 60);
  };
  const input = (type, more) => el("input", { type, "data-name": name, "aria-label": help ? `${name}: ${help}` : name, input: changed, ...more });
  if (typeof start === "boolean") return [input("checkbox")];
  if (typeof start !== "number") return [input("text", { spellcheck: "false", size: Math.min(60, Math.max(12, words(start).length + 4)) })];
  const whole = Number.isInteger(start);
  const [low, high] = start === 0 ? [-1, 1] : [Math.min(0, 2 * start), Math.max(0, 2 * start)];
  const [min, max] = whole ? [Math.min(low, 0), Math.max(high, 10)] : [low, high];
  return [input("range", { min, max, step: whole ? 1 : (max - min) / 200, "aria-label": `${name}, as a slider` }), input("number", { step: "any" })];
}
