import { type Image, rgb } from './image.js';

interface Filter {
  /** Reach to each side, in pixels of the coarser grid. */
  readonly support: number;
  weight(x: number): number;
}

const bilinear: Filter = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** Keys's cubic convolution (1981) with a = -1/2. */
const bicubic: Filter = {
  support: 2,
  weight(x) {
    const t = Math.abs(x);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
  },
};

/** Filters by the number that `resample` has in preprocessor_config.json (those of Pillow). */
export const filters: Readonly<Record<number, Filter>> = { 2: bilinear, 3: bicubic };

/** Weights are fixed-point numbers of so many bits after the point: what makes results equal to Pillow's, to the bit. */
const precision = 2 ** 22;

/** What one output pixel is the weighted sum of. */
interface Window {
  readonly from: number;
  readonly weights: Float64Array;
}

/** The filter over each output pixel of a line, as wide as that pixel covers in the input: no aliasing when it shrinks. */
function windows(from: number, to: number, { support, weight }: Filter): Window[] {
  const step = from / to;
  const width = Math.max(step, 1);
  const narrowing = 1 / width;
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * step;
    const first = Math.max(0, Math.trunc(center - support * width + 0.5));
    const last = Math.min(from, Math.trunc(center + support * width + 0.5));
    const raw = Array.from({ length: last - first }, (_, k) => weight((first + k - center + 0.5) * narrowing));
    const sum = raw.reduce((a, b) => a + b, 0);
    const weights = Float64Array.from(raw, (w) => Math.trunc((w / sum) * precision + (w < 0 ? -0.5 : 0.5)));
    return { from: first, weights };
  });
}

/** Sums lines of pixels: the layout says where a line's first value lies and how far its pixels are apart. */
function pass(source: Uint8Array, target: Uint8Array, all: readonly Window[], lines: number, layout: Layout): void {
  const { stride } = layout;
  for (let line = 0; line < lines; line++) {
    const first = layout.source(line);
    let to = layout.target(line);
    for (const { from, weights } of all) {
      let [red, green, blue] = [precision / 2, precision / 2, precision / 2];
      let at = first + from * stride;
      for (const weight of weights) {
        red += weight * source[at]!;
        green += weight * source[at + 1]!;
        blue += weight * source[at + 2]!;
        at += stride;
      }
      target[to] = clamp(Math.floor(red / precision));
      target[to + 1] = clamp(Math.floor(green / precision));
      target[to + 2] = clamp(Math.floor(blue / precision));
      to += stride;
    }
  }
}

const clamp = (value: number): number => (value < 0 ? 0 : value > 255 ? 255 : value);

interface Layout {
  readonly stride: number;
  source(line: number): number;
  target(line: number): number;
}

/** The picture in another size: along rows first, then along columns, rounded to 8 bits after each, as Pillow does. */
export function resize(image: Image, width: number, height: number, filter: Filter): Image {
  const rows = { width, height: image.height, data: new Uint8Array(width * image.height * rgb) };
  if (width === image.width) rows.data.set(image.data);
  else
    pass(image.data, rows.data, windows(image.width, width, filter), image.height, {
      stride: rgb,
      source: (y) => y * image.width * rgb,
      target: (y) => y * width * rgb,
    });
  if (height === image.height) return rows;
  const data = new Uint8Array(width * height * rgb);
  pass(rows.data, data, windows(image.height, height, filter), width, {
    stride: width * rgb,
    source: (x) => x * rgb,
    target: (x) => x * rgb,
  });
  return { width, height, data };
}
