import { createRandom, f32, type Params, type Target, type Tensor } from '@peftjs/core';
import { type Bases, heldBases, materialized, seededBases } from './bases.js';
import type { NolaSettings } from './config.js';

export type Extents = Pick<Target, 'in' | 'out'>;
type Layout = Pick<NolaSettings, 'r' | 'bases' | 'variant'>;

/** What a module's random matrices follow from: the 64 bits that key its stream. */
export type Seed = bigint;

/** A seed as four numbers of 16 bits, the low ones first: exact in the float32 that tensors of a method have. */
export const tensorOfSeed = (seed: Seed): Tensor =>
  f32(
    [4],
    [0n, 16n, 32n, 48n].map((shift) => Number((seed >> shift) & 0xffffn)),
  );

export const seedOf = (tensor: Tensor): Seed =>
  [...(tensor.data as Float32Array)].reduceRight((seed, word) => (seed << 16n) | BigInt(word), 0n);

/** A₀ (r × in) as a single basis: uniform in ±1/√in, as the A of LoRA starts. Only language models have one. */
export function startBasis(seed: Seed, { r, variant }: Layout, extents: Extents): Bases | undefined {
  const bound = 1 / Math.sqrt(extents.in);
  return variant === 'language'
    ? seededBases(createRandom(seed).fork('A0'), { count: 1, size: r * extents.in, bound })
    : undefined;
}

/** A₀, flat. */
export function startOf(seed: Seed, layout: Layout, extents: Extents): Float32Array | undefined {
  const basis = startBasis(seed, layout, extents);
  return basis && (materialized(basis).data as Float32Array);
}

/**
 * Aᵢ (r × in) and Bⱼ (out × r): uniform in ±1/√k, as the authors' code for language models draws them; for images uniform
 * in ±1/√n for n inputs of the factor (Kaiming).
 * NOTE: the authors' code for images seeds every layer alike; here every module has a stream of its own.
 */
export function basesOf(seed: Seed, { r, bases: k, variant }: Layout, extents: Extents): { a: Bases; b: Bases } {
  const rng = createRandom(seed);
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
