import { createRandom, f32, type Params, type Random, type Target, type Tensor } from '@peftjs/core';
import { type Bases, heldBases, seededBases } from './bases.js';
import type { NolaSettings } from './config.js';

export type Extents = Pick<Target, 'in' | 'out'>;
type Layout = Pick<NolaSettings, 'r' | 'bases' | 'variant'>;

/** What a module's random matrices follow from: the 64 bits that key its stream. */
export type Seed = bigint;

/** A seed as four numbers of 16 bits, the low ones first: exact in the float32 that tensors of a method have. */
export function seedTensor([low, high]: Random['key']): Tensor {
  return f32([4], [low & 0xffff, low >>> 16, high & 0xffff, high >>> 16]);
}

export const seedOf = (tensor: Tensor): Seed =>
  [...(tensor.data as Float32Array)].reduceRight((seed, word) => (seed << 16n) | BigInt(word), 0n);

export const tensorOfSeed = (seed: Seed): Tensor => seedTensor(createRandom(seed).key);

/** The stream that a seed keys. */
const streamOf = (seed: Seed): Random => createRandom(seed);

/** A₀ (r × in): uniform in ±1/√in, as the A of LoRA starts. Only language models have one. */
export const startOf = (seed: Seed, { r, variant }: Layout, extents: Extents): Tensor | undefined => {
  const bound = 1 / Math.sqrt(extents.in);
  return variant === 'language' ? streamOf(seed).fork('A0').uniform([r, extents.in], -bound, bound) : undefined;
};

/**
 * Aᵢ (r × in) and Bⱼ (out × r): uniform in ±1/√k, as the authors' code for language models draws them; for images uniform
 * in ±1/√n for n inputs of the factor (Kaiming).
 * NOTE: the authors' code for images seeds every layer alike; here every module has a stream of its own.
 */
export function basesOf(seed: Seed, { r, bases: k, variant }: Layout, extents: Extents): { a: Bases; b: Bases } {
  const rng = streamOf(seed);
  const bound = (inputs: number) => 1 / Math.sqrt(variant === 'vit' ? inputs : k);
  return {
    a: seededBases(rng.fork('A'), { count: k, size: r * extents.in, bound: bound(extents.in) }),
    b: seededBases(rng.fork('B'), { count: k, size: extents.out * r, bound: bound(r) }),
  };
}

/** Bytes that the bases of a module take in memory. */
export const bytesOfBases = ({ r, bases }: Layout, extents: Extents): number =>
  4 * bases * r * (extents.in + extents.out);

/** The bases of a target in training: those that are held, else from the seed. */
export function trainingBases(p: Params<Tensor>, c: Layout, extents: Extents): { a: Bases; b: Bases } {
  if (p.basisA && p.basisB) return { a: heldBases(p.basisA), b: heldBases(p.basisB) };
  return basesOf(seedOf(p.seed!), c, extents);
}
