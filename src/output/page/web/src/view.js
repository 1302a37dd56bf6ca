// Runs in a list, and beside each other.

import { dataOf, drawItem, dress, nameOf } from "./draw.js";
import { el, say, token } from "./dom.js";
import { number, read } from "./number.js";

const words = (value) => (value == null ? "" : typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? number(value) : String(value));

let runs = [];
let ends = [];
const chosen = new Set();

/** Shows the list, and what is chosen of it. */
export async function view() {
  const controls = document.getElementById("controls");
  const list = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" });
  const filter = el("input", { type: "search", placeholder: "Script, model, parameter, outcome", "aria-label": "Runs that have this text", input: () => fill() });
  const count = el("span");
  const compare = el("button", { type: "button", click: () => side() }, "Look");
  const smooth = el("input", { type: "number", min: 1, max: 1000, value: 1, "aria-label": "Running mean over so many points", change: () => side() });
  controls.append(el("h1", {}, "Runs"), el("p", { class: "beside" }, filter, count, compare, el("label", {}, "running mean over ", smooth)), list);

  async function load() {
    runs = (await (await fetch("runs")).json()).runs;
    for (const id of chosen) if (!runs.some((run) => run.id === id)) chosen.delete(id);
    fill();
  }

  function fill() {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (run) => [run.script, run.path, run.outcome, run.note, ...run.models, ...Object.entries(run.parameters).map(([name, value]) => `${name}=${words(value)}`)].join(" ").toLowerCase();
    const found = runs.filter((run) => wanted.every((word) => text(run).includes(word)));
    count.textContent = `${found.length} of ${runs.length} runs`;
    const rows = found.slice(0, 500).map((run) => {
      const box = el("input", { type: "checkbox", "aria-label": `Choose ${run.path}`, "data-run": run.path, change: () => {
        if (box.checked) chosen.add(run.id); else chosen.delete(run.id);
      } });
      box.checked = chosen.has(run.id);
      return el("tr", {}, el("td", {}, box),
        el("td", {}, el("button", { type: "button", class: "link", click: () => { chosen.clear(); chosen.add(run.id); fill(); side(); } }, token(run.path))),
        el("td", {}, token(run.script)), el("td", {}, token(run.models.join(", ")).replace(/^∅$/, "")),
        el("td", {}, Object.entries(run.parameters).map(([name, value]) => `${name}=${words(value)}`).join(" ")),
        el("td", {}, run.started.slice(0, 16).replace("T", " ")), el("td", { class: "number" }, `${number(run.seconds)} s`),
        el("td", { class: run.outcome === "done" ? null : "failed" }, run.outcome.slice(0, 200)), el("td", {}, run.note.slice(0, 200)));
    });
    list.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ["", "run", "script", "models", "parameters", "started", "took", "outcome", "note"].map((name) => name ? el("th", { scope: "col" }, name) : el("td")))), el("tbody", {}, rows)));
  }

  async function side() {
    const own = runs.filter((run) => chosen.has(run.id)).slice(0, 8);
    ends.forEach((end) => end());
    ends = [];
    const root = document.getElementById("page");
    if (!own.length) return root.replaceChildren(el("p", { class: "left-out" }, "Choose a run, or several."));
    const pages = await Promise.all(own.map(async (run) => {
      const answer = run.page ? await fetch(`run/${run.id}/page`) : null;
      return answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    }));
    root.replaceChildren(...(own.length === 1 ? one(own[0], pages[0]) : several(own, pages, Math.max(1, Number(smooth.value) || 1))));
    root.querySelectorAll("[data-waiting]").forEach((place) => ends.push(place.start()));
    document.documentElement.dataset.beside = String(own.length);
    say(`${own.length} runs shown.`);
  }

  /** One run: its page, its note, and the button that deletes it. */
  function one(run, page) {
    const note = el("textarea", { rows: 3, "aria-label": "Note" });
    note.value = run.note;
    const kept = el("button", { type: "button", click: async () => {
      const answer = await fetch(`run/${run.id}/note`, { method: "POST", body: note.value });
      say(answer.ok ? "Kept." : await answer.text());
      await load();
    } }, "Keep note");
    const remove = el("button", { type: "button", class: "delete", click: async () => {
      const answer = await fetch(`run/${run.id}/delete`, { method: "POST" });
      if (!answer.ok) return say(await answer.text());
      const { deleted, left } = await answer.json();
      if (!deleted) return void (remove.textContent = `Delete ${run.files} files and the record of ${run.path}: press again`);
      chosen.clear();
      await load();
      document.getElementById("page").replaceChildren(el("p", {}, left.length ? `Deleted; what is not the run's stays: ${left.join(", ")}` : "Deleted."));
    } }, "Delete this run …");
    const about = el("section", { class: "about", "aria-label": "Note" }, note, el("p", { class: "beside" }, kept, remove));
    if (!page) return [about, el("p", { class: "left-out" }, "This run has no page.")];
    const data = dataOf(page);
    const parts = [page.querySelector("header"), page.getElementById("items"), page.getElementById("run")].filter(Boolean).map((part) => document.adoptNode(part));
    for (const part of parts) {
      dress(part);
      part.querySelectorAll("a[download]").forEach((link) => link.setAttribute("href", `run/${run.id}/file/${link.getAttribute("href").replace(/^\.\//, "")}`));
      for (const place of part.querySelectorAll("[data-item]")) {
        const at = Number(place.dataset.item);
        if (data.items[at]) waiting(place, data.items[at], `${run.id} ${nameOf(data.items, at)}`);
      }
    }
    return [about, ...parts];
  }

  /** Several runs: what differs among them, and each picture and table of all of them. */
  function several(own, pages, mean) {
    const names = [...new Set(own.flatMap((run) => Object.keys(run.parameters)))];
    const facts = [["script", (run) => run.script], ["models", (run) => run.models.join(", ")], ...names.map((name) => [name, (run) => words(run.parameters[name])]),
      ["outcome", (run) => run.outcome], ["took", (run) => `${number(run.seconds)} s`], ["note", (run) => run.note]];
    const differs = facts.filter(([, of]) => new Set(own.map(of)).size > 1);
    const label = (at) => short(own, at);
    const head = el("table", { class: "differs" }, el("thead", {}, el("tr", {}, el("td"), own.map((run, at) => el("th", { scope: "col" }, label(at))))),
      el("tbody", {}, differs.map(([name, of]) => el("tr", {}, el("th", { scope: "row" }, name), own.map((run) => el("td", {}, of(run)))))));
    const all = pages.map((page) => {
      const items = page ? dataOf(page).items : [];
      return new Map(items.map((item, i) => [item && nameOf(items, i), item]).filter(([, item]) => item));
    });
    const shared = [...new Set(all.flatMap((items) => [...items.keys()]))];
    return [el("h2", {}, "What differs"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What differs" }, head), ...shared.map((name) => {
      const items = all.map((of) => of.get(name));
      const present = items.filter(Boolean);
      const title = present[0].title || name;
      const joined = join(items, label, mean);
      if (joined) return waiting(el("figure", { "data-name": name }, el("figcaption", {}, title)), joined, `${own.map((run) => run.id)} ${name}`);
      return el("figure", { "data-name": name }, el("figcaption", {}, title), el("div", { class: "side" }, items.map((item, at) =>
        item ? waiting(el("div", { class: "one" }, el("p", { class: "axis" }, label(at))), item, `${own[at].id} ${name}`) : el("div", { class: "one" }, el("p", { class: "axis" }, `${label(at)} has none`)))));
    })];
  }

  await load();
}

/** A place whose item is drawn once it is on the page. */
function waiting(place, item, name) {
  place.dataset.waiting = "yes";
  place.start = () => drawItem(place, item, name);
  return place;
}

/** What a run is called among others: the end of its directory. */
function short(own, at) {
  const ends = own.map((run) => run.path.split("/").at(-1));
  return new Set(ends).size === ends.length ? ends[at] : own[at].path;
}

/** Lines of one plot overlaid, tables one below the other; nothing where neither can be. */
function join(items, label, mean) {
  const present = items.map((item, at) => [item, at]).filter(([item]) => item);
  if (present.every(([item]) => item.item === "table")) {
    const columns = [...new Set(present.flatMap(([item]) => item.columns))];
    const rows = present.flatMap(([item, at]) => item.rows.map((row) => [label(at), ...columns.map((name) => row[item.columns.indexOf(name)] ?? null)]));
    return { item: "table", columns: ["run", ...columns], rows };
  }
  if (!present.every(([item]) => item.picture === "line" && item.kind === present[0][0].kind)) return null;
  const xs = [...new Set(present.flatMap(([item]) => item.x.map(read)).filter(Number.isFinite))].sort((a, b) => a - b);
  const series = present.flatMap(([item, at]) => item.series.map((one) => {
    const y = running(one.y.map(read), mean);
    const known = new Map(item.x.map((x, i) => [read(x), y[i]]));
    return { label: `${label(at)}${one.label ? ` ${one.label}` : ""}`, y: xs.map((x) => known.get(x) ?? "nan") };
  }));
  return { ...present[0][0], x: xs, series, about: `Lines of ${present.length} runs.` };
}

/** The mean of each value and those before it, `mean` of them. */
function running(values, mean) {
  if (mean <= 1) return values;
  return values.map((_, i) => {
    const part = values.slice(Math.max(0, i + 1 - mean), i + 1).filter(Number.isFinite);
    return part.length ? part.reduce((sum, value) => sum + value, 0) / part.length : NaN;
  });
}
