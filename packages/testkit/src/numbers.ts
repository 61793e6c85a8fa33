import { cast, createRandom, type DType, type Tensor } from '@peftjs/core';
import { count } from './reference/array.js';

/** Which numbers a tensor is filled with; `away` is both signs with magnitudes from 0.2 to 2, off the kinks at zero. */
export type Fill =
  | 'away'
  | { readonly from: number; readonly to: number }
  | { readonly below: number }
  | { readonly values: readonly number[] };

/**
 * A tensor of numbers that depend on `name` only. `{ below: n }` gives integers from 0 to n - 1; `values` repeats what
 * is given.
 */
export function tensorOf(dtype: DType, shape: readonly number[], fill: Fill, name: string): Tensor {
  const random = createRandom(0).fork(name);
  const uniform = random.fork('size').uniform(shape).data as Float32Array;
  const sign = random.fork('sign').uniform(shape).data as Float32Array;
  const value = (u: number, i: number): number => {
    if (fill === 'away') return (sign[i]! < 0.5 ? -1 : 1) * (0.2 + 1.8 * u);
    if ('below' in fill) return Math.floor(u * fill.below);
    if ('values' in fill) return fill.values[i % fill.values.length]!;
    return fill.from + (fill.to - fill.from) * u;
  };
  return cast(
    { dtype: 'f64', shape, data: Float64Array.from({ length: count(shape) }, (_, i) => value(uniform[i]!, i)) },
    dtype,
  );
}

/** The same values as float64, to be moved by small steps. */
export const widened = (tensor: Tensor): Tensor & { readonly data: Float64Array } =>
  cast(tensor, 'f64') as Tensor & { data: Float64Array };
