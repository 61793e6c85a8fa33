import { elementCount, type Params, type Target, type Tensor } from '@peftjs/core';
import type { IntrinsicSettings } from './config.js';
import { bytesOfSigns, type Extents, heldSigns, type Signs, seededSigns, signWords } from './math.js';

/** What a target's rows of P follow from: the 64 bits that key its stream. */
export type Seed = bigint;

export const shapeOf = ({ parameters }: Target): readonly number[] => parameters.weight!.shape;

export const extentsOf = (target: Target, { dimension }: IntrinsicSettings): Extents => ({
  numbers: elementCount(shapeOf(target)),
  dimension,
});

export const tensorOfSeed = (seed: Seed): Tensor => ({
  dtype: 'i64',
  shape: [1],
  data: BigInt64Array.of(BigInt.asIntN(64, seed)),
});

export const seedOf = (seed: Tensor): Seed => BigInt.asUintN(64, (seed.data as BigInt64Array)[0]!);

/** What follows from the seed and stays: the signs too, where there is room for them. */
export function frozenOf(seed: Seed, target: Target, c: IntrinsicSettings): Params<Tensor> {
  const own = { seed: tensorOfSeed(seed) };
  const extents = extentsOf(target, c);
  if (bytesOfSigns(extents) > c.cache * 2 ** 20) return own;
  const words = signWords(seed, extents);
  return { ...own, signs: { dtype: 'i32', shape: [words.length], data: new Int32Array(words.buffer) } };
}

/** The signs of a target in training: those that are held, else from the seed. */
export function signsOf({ seed, signs }: Params<Tensor>, target: Target, c: IntrinsicSettings): Signs {
  const extents = extentsOf(target, c);
  return signs
    ? heldSigns(new Uint32Array((signs.data as Int32Array).buffer), extents)
    : seededSigns(seedOf(seed!), extents);
}
