// Numbers as the rest of Precompute writes them (src/output/picture/number.rs).

/** A number of the data: a word stands for what JSON has no number for. */
export function read(value) {
  if (typeof value === "number") return value;
  return { inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

/** Numbers nested to any depth. */
export const readAll = (values) => (Array.isArray(values) ? values.map(readAll) : read(values));

const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

/** A number in short: four significant digits. */
export function number(x) {
  if (typeof x !== "number") return String(x);
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e9) return String(x);
  if (size < 1e-4 || size >= 1e6) {
    const [mantissa, power] = x.toExponential(3).split("e");
    return `${trimmed(mantissa)}e${Number(power)}`;
  }
  return trimmed(x.toFixed(Math.max(0, 3 - Math.floor(Math.log10(size)))));
}

/** How many of the numbers are not finite, in words; nothing if all are. */
export function lost(values) {
  const count = { nan: 0, inf: 0, "-inf": 0 };
  const look = (value) => {
    if (Array.isArray(value)) value.forEach(look);
    else if (!Number.isFinite(value)) count[number(value)] += 1;
  };
  look(values);
  const words = Object.entries(count).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`);
  return words.length ? `Among the values: ${words.join(", ")}.` : "";
}
