// The colours of pictures (src/output/picture/colour.rs).

const DISTINCT = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], [120, 120, 120], [190, 175, 20]];
const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
const BLUE_WHITE_RED = [[5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [247, 247, 247], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31]];
const MISSING = [190, 190, 190];

function ramp(colours, fraction) {
  const place = Math.min(1, Math.max(0, fraction)) * (colours.length - 1);
  const below = Math.min(Math.floor(place), colours.length - 2);
  return colours[below].map((a, i) => Math.round(a + (colours[below + 1][i] - a) * (place - below)));
}

export const css = (rgb) => `rgb(${rgb.join(",")})`;

/** The colour of series `index` of `count`. */
export function ofSeries(index, count) {
  if (count <= DISTINCT.length) return css(DISTINCT[index % DISTINCT.length]);
  return css(ramp(VIRIDIS, 0.9 * (index / (count - 1))));
}

/** Black or white, whichever can be read on a colour. */
export const readableOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#26262e" : "#fff");

/** The scale of some numbers: viridis, or blue through white at zero to red if both signs occur. */
export function scaleOf(values, { min = null, max = null, zero = false } = {}) {
  let [lo, hi] = [Infinity, -Infinity];
  const look = (value) => {
    if (Array.isArray(value)) value.forEach(look);
    else if (Number.isFinite(value)) [lo, hi] = [Math.min(lo, value), Math.max(hi, value)];
  };
  look(values);
  if (lo > hi) [lo, hi] = [0, 0];
  lo = min ?? lo;
  hi = max ?? hi;
  const diverging = lo < 0 && hi > 0;
  const reach = Math.max(hi, -lo);
  if (diverging) [lo, hi] = [min ?? -reach, max ?? reach];
  if (zero) [lo, hi] = [Math.min(lo, 0), Math.max(hi, 0)];
  const at = (fraction) => {
    if (!diverging) return ramp(VIRIDIS, fraction);
    const value = lo * (1 - fraction) + hi * fraction;
    return ramp(BLUE_WHITE_RED, 0.5 + 0.5 * (value / Math.max(hi, -lo)));
  };
  const colour = (x) => {
    if (Number.isNaN(x)) return MISSING;
    if (lo === hi) return at(x < lo ? 0 : x > hi ? 1 : 0.5);
    const held = Math.min(hi, Math.max(lo, x));
    return at((held / 2 - lo / 2) / (hi / 2 - lo / 2));
  };
  return { lo, hi, at, colour };
}
