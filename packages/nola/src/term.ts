import { type Params, randomAlgorithm, type Tensor, type Term } from '@peftjs/core';
import type { Bases } from './bases.js';
import { type Bits, save } from './coefficients.js';
import type { NolaSettings } from './config.js';
import { basesOf, type Extents, type Seed, startBasis } from './source.js';

/**
 * How the matrices of a term and its fingerprint follow from its seed. Anything that changes a number of them needs a new
 * version. Version 1 had the same matrices, and a fingerprint of first numbers alone.
 */
export const version = 2;
export const versions: readonly unknown[] = [1, version];

/** What a term says of itself, with the extents of its factors. */
export interface Description extends Extents {
  readonly seed: Seed;
  readonly r: number;
  readonly bases: number;
  readonly variant: NolaSettings['variant'];
  readonly bits: Bits;
  readonly transposed: boolean;
}

/** Some numbers of a basis: the first ones, or the last ones. */
function numbersOf(bases: Bases, basis: number, end: 'first' | 'last'): Float32Array {
  const out = new Float32Array(Math.min(4, bases.size));
  bases.fill(basis, end === 'first' ? 0 : bases.size - out.length, out);
  return out;
}

/**
 * The first numbers of A₀ and of both first bases and the last numbers of both last bases, bit by bit: another generator
 * shows in the first, other extents in the last.
 */
export function fingerprint(
  seed: Seed,
  layout: Pick<Description, 'r' | 'bases' | 'variant'>,
  extents: Extents,
  of: unknown = version,
): string {
  const { a, b } = basesOf(seed, layout, extents);
  const start = startBasis(seed, layout, extents);
  const firsts = [a, b, ...(start ? [start] : [])].map((bases) => numbersOf(bases, 0, 'first'));
  const lasts = of === 1 ? [] : [a, b].map((bases) => numbersOf(bases, bases.count - 1, 'last'));
  const numbers = [...firsts, ...lasts].flatMap((part) => [...part]);
  const words = new Uint32Array(Float32Array.from(numbers).buffer);
  return [...words].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** ΔW = scale · B A with A = A₀ + Σ αᵢ Aᵢ and B = Σ βⱼ Bⱼ, of which the coefficients and the seed are kept. */
export function seededTerm(
  { alpha, beta }: Params<Tensor>,
  { seed, ...layout }: Omit<Description, 'in' | 'out'> & { readonly scale: number },
  extents: Extents,
): Term {
  const { r, bases, variant, bits, scale, transposed } = layout;
  const [A, B] = [save(alpha!, bits), save(beta!, bits)];
  return {
    kind: 'seeded-low-rank',
    tensors: { alpha: A.tensor, beta: B.tensor },
    meta: {
      algorithm: randomAlgorithm,
      version,
      seed: String(seed),
      fingerprint: fingerprint(seed, layout, extents),
      variant,
      r,
      bases,
      bits,
      alphaStep: A.step,
      betaStep: B.step,
      scale,
      transposed,
    },
  };
}

/** What a term without problems says of itself, for a parameter of this shape. */
export const describe = ({ meta }: Term, shape: readonly number[]): Description => {
  const transposed = meta.transposed === true;
  const [out, inside] = transposed ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];
  return {
    seed: BigInt(String(meta.seed)),
    r: Number(meta.r),
    bases: Number(meta.bases),
    variant: meta.variant as NolaSettings['variant'],
    bits: meta.bits as Bits,
    transposed,
    in: inside,
    out,
  };
};
