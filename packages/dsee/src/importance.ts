import { f32, type Params, type Random, type Target, type Tensor, transposed } from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { scaleOf } from './roles.js';

/** One weight with its update, as numbers. */
export interface Updated {
  readonly target: Target;
  readonly c: DseeSettings;
  readonly p: Params<Tensor>;
  /** In its own layout. */
  readonly W: Tensor;
  readonly rng: Random;
}

const numbers = (tensor: Tensor) => tensor.data as Float32Array;

/** a U V + b S₂ in the layout of the weight. */
export function combined({ target, p }: Pick<Updated, 'target' | 'p'>, a: number, b: number): Float32Array {
  const { out, in: width } = target;
  const [u, v, s2] = [numbers(p.u!), numbers(p.v!), numbers(p.s2!)];
  const r = p.v!.shape[0]!;
  const data = new Float64Array(out * width);
  for (let o = 0; o < out; o++)
    for (let k = 0; k < r; k++) {
      const x = a * u[o * r + k]!;
      if (x !== 0) for (let i = 0; i < width; i++) data[o * width + i] = data[o * width + i]! + x * v[k * width + i]!;
    }
  const [rows, columns] = [p.rows!, p.columns!];
  for (let k = 0; k < s2.length; k++) {
    const at = Number(rows.data[k]) * width + Number(columns.data[k]);
    data[at] = data[at]! + b * s2[k]!;
  }
  const whole = f32([out, width], data);
  return numbers(target.kind === 'conv1d' ? transposed(whole) : whole);
}

const sum = (a: Float32Array, b: Float32Array) => a.map((x, i) => x + b[i]!);

/** What an entry is worth, by the name of `importance`; its size counts. NOTE: the released WABS scales S₂ but not U V. */
const scores: Readonly<Record<DseeSettings['importance'], (one: Updated, s: number) => Float32Array>> = {
  ABS: (one, s) => combined(one, s, s),
  WABS: (one, s) => sum(numbers(one.W), combined(one, s, s)),
  'WABS-released': (one, s) => sum(numbers(one.W), combined(one, 1, s)),
  W: ({ W }) => numbers(W),
  random: ({ W, rng }) => numbers(rng.uniform(W.shape)),
};

/** Of a weight with an update. */
export const importanceOf = (one: Updated): Float32Array => scores[one.c.importance](one, scaleOf(one.c)).map(Math.abs);

/** Of a weight without: |W|. */
export const sizesOf = (W: Tensor): Float32Array => numbers(W).map(Math.abs);
