import { toF32 } from '../../tensor/convert.js';
import { mersenneTwister, torchUniform } from '../../tensor/mersenne-twister.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';

/** A [r, in] and B [out, r] for the widest of the modules that share them. */
export interface Projections<T = Tensor> {
  readonly A: T;
  readonly B: T;
}

export interface ProjectionShape {
  readonly r: number;
  /** Inputs of the widest module. */
  readonly in: number;
  /** Outputs of the widest module. */
  readonly out: number;
}

/** Kaiming's uniform bound of a matrix with so many inputs, for a gain of √2. */
const bound = (inputs: number): number => Math.sqrt(3) * (Math.sqrt(2) / Math.sqrt(inputs));

/**
 * The random matrices that PEFT draws from `projection_prng_key` (A first, then B), to the bit: the key alone stands for
 * them in files without them.
 */
export function veraProjections(key: number, { r, in: inside, out }: ProjectionShape): Projections {
  const next = mersenneTwister(key);
  const A = torchUniform(next, [r, inside], bound(inside));
  return { A, B: torchUniform(next, [out, r], bound(r)) };
}

/** The extents that projections of these modules have in PEFT. @param sides out and in of each */
export function widest(sides: Iterable<readonly [number, number]>): { readonly out: number; readonly in: number } {
  const most = { out: 0, in: 0 };
  for (const [out, inside] of sides) {
    most.out = Math.max(most.out, out);
    most.in = Math.max(most.in, inside);
  }
  return most;
}

/** The part of projections that acts where the widest module is narrower. */
export async function narrowed(
  { A, B }: Projections<TensorRef>,
  to: { readonly out: number; readonly in: number },
): Promise<Projections<TensorRef>> {
  const [r, width] = A.shape as [number, number];
  return {
    A: width === to.in ? A : tensorRef(columns(toF32(await A.read()), r, width, to.in)),
    B: B.shape[0] === to.out ? B : tensorRef(await B.read({ from: 0, to: to.out })),
  };
}

const columns = ({ data }: Tensor, rows: number, width: number, kept: number): Tensor =>
  f32(
    [rows, kept],
    Float32Array.from({ length: rows * kept }, (_, at) => Number(data[Math.floor(at / kept) * width + (at % kept)])),
  );
