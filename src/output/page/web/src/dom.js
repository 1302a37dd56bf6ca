// Elements, made of names and texts: no markup is ever parsed here.

/** An element with attributes (a value of null leaves one out, a function listens) and children. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

/** A token as labels show it: a dot for each space at its ends, symbols for controls. */
export function token(text) {
  text = String(text);
  if (text === "") return "∅";
  const inner = text.replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length));
  return inner.replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g, "\ufffd");
}

/** The element in which what happens is said to screen readers. */
export function say(text) {
  const status = document.getElementById("said");
  if (status) status.textContent = text;
}

/** Calls back with the width of an element, now and whenever it changes. */
export function onWidth(element, callback) {
  let last = 0;
  const observer = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width > 0 && width !== last) callback((last = width));
  });
  observer.observe(element);
  return () => observer.disconnect();
}

/** The colour that the style gives a name. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls back when the light changes. */
export function onLight(callback) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => media.removeEventListener("change", callback);
}

/** A canvas of this size in CSS pixels, sharp on the screen that it is on, and its context. */
export function sized(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
