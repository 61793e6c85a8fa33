import type { Attributes } from '@peftjs/core';
import { count, type NdArray, nd, stridedIndex, strides } from './array.js';
import { need, type Operations } from './operation.js';

interface Extents {
  /** Of the larger side: what a convolution reads and its transpose writes. */
  readonly wide: readonly number[];
  /** Of the smaller side, one place a step of the kernel. */
  readonly narrow: readonly number[];
}

/** A weight at one step of the kernel: flat positions in both sides (within a channel) and in the kernel. */
type Contact = readonly [wide: number, narrow: number, tap: number];

/** Where every weight lies at every step of the kernel, those in the padding left out. */
function contacts({ wide, narrow }: Extents, kernel: readonly number[], attributes: Attributes): Contact[] {
  const { step, dilation, pads } = motion(kernel, attributes);
  const along = strides(wide);
  const taps = coordinates(kernel);
  return coordinates(narrow).flatMap((place, p) =>
    taps.flatMap((tap, t): Contact[] => {
      const at = place.map((v, i) => v * step[i]! + tap[i]! * dilation[i]! - pads[i]!);
      const inside = at.every((v, i) => v >= 0 && v < wide[i]!);
      return inside ? [[at.reduce((total, v, i) => total + v * along[i]!, 0), p, t]] : [];
    }),
  );
}

function motion(kernel: readonly number[], attributes: Attributes) {
  const step = attributes.numbers('strides') ?? kernel.map(() => 1);
  const dilation = attributes.numbers('dilations') ?? kernel.map(() => 1);
  const pads = attributes.numbers('pads') ?? kernel.flatMap(() => [0, 0]);
  const reach = kernel.map((k, i) => (k - 1) * dilation[i]! + 1);
  const pad = kernel.map((_, i) => pads[i]! + pads[i + kernel.length]!);
  return { step, dilation, pads, reach, pad };
}

/** Pairs of channels that a weight [outer, inner per group, ...] joins. */
function* pairs(w: NdArray, groups: number): Generator<[outer: number, inner: number, kernelAt: number]> {
  const [outer, perGroup, ...kernel] = w.shape as [number, number, ...number[]];
  for (let o = 0; o < outer; o++) {
    const first = Math.floor(o / (outer / groups)) * perGroup;
    for (let c = 0; c < perGroup; c++) yield [o, first + c, (o * perGroup + c) * count(kernel)];
  }
}

export const convolution: Operations = {
  /** x [n, c, ...spatial], w [m, c / group, ...kernel], bias [m]. */
  Conv: (inputs, attributes) => {
    const [x, w, bias] = [need(inputs, 0), need(inputs, 1), inputs[2]];
    const [n, channels, ...wide] = x.shape as [number, number, ...number[]];
    const [m, , ...kernel] = w.shape as [number, number, ...number[]];
    const { step, reach, pad } = motion(kernel, attributes);
    const narrow = wide.map((s, i) => Math.floor((s + pad[i]! - reach[i]!) / step[i]!) + 1);
    const out = nd(x.dtype, [n, m, ...narrow]);
    const [area, places] = [count(wide), count(narrow)];
    for (let i = 0; i < out.data.length; i++) out.data[i] = bias?.data[Math.floor(i / places) % m] ?? 0;
    const touching = contacts({ wide, narrow }, kernel, attributes);
    for (let b = 0; b < n; b++)
      for (const [o, c, at] of pairs(w, attributes.number('group', 1)))
        for (const [from, to, tap] of touching)
          out.data[(b * m + o) * places + to]! += x.data[(b * channels + c) * area + from]! * w.data[at + tap]!;
    return out;
  },

  /** y [n, m, ...spatial], w [m, c / group, ...kernel], bias [c]. */
  ConvTranspose: (inputs, attributes) => {
    const [y, w, bias] = [need(inputs, 0), need(inputs, 1), inputs[2]];
    const [n, m, ...narrow] = y.shape as [number, number, ...number[]];
    const [, perGroup, ...kernel] = w.shape as [number, number, ...number[]];
    const groups = attributes.number('group', 1);
    const { step, reach, pad } = motion(kernel, attributes);
    const rest = attributes.numbers('output_padding') ?? kernel.map(() => 0);
    const wide = narrow.map((s, i) => (s - 1) * step[i]! + reach[i]! + rest[i]! - pad[i]!);
    const channels = perGroup * groups;
    const out = nd(y.dtype, [n, channels, ...wide]);
    const [area, places] = [count(wide), count(narrow)];
    for (let i = 0; i < out.data.length; i++) out.data[i] = bias?.data[Math.floor(i / area) % channels] ?? 0;
    const touching = contacts({ wide, narrow }, kernel, attributes);
    for (let b = 0; b < n; b++)
      for (const [o, c, at] of pairs(w, groups))
        for (const [to, from, tap] of touching)
          out.data[(b * channels + c) * area + to]! += y.data[(b * m + o) * places + from]! * w.data[at + tap]!;
    return out;
  },
};

/** Every index of a shape, in row-major order. */
function coordinates(shape: readonly number[]): number[][] {
  const axes = shape.map((_, axis) =>
    stridedIndex(
      shape,
      shape.map((_, i) => (i === axis ? 1 : 0)),
      0,
    ),
  );
  return Array.from({ length: count(shape) }, (_, i) => axes.map((axis) => axis[i]!));
}
