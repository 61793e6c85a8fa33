import {
  f32,
  inversePositive,
  orthonormalBasis,
  type Params,
  PeftError,
  type Random,
  type Tensor,
  zeros,
} from '@peftjs/core';
import type { LoraSettings } from './config.js';
import type { StartFactors } from './decompose.js';

/** Kaiming-uniform with a = √5, as in the authors' code: U(-1/√n, 1/√n) for n inputs. */
function kaiming(rng: Random, shape: readonly number[], n: number): Tensor {
  const bound = 1 / Math.sqrt(n);
  return rng.uniform(shape, -bound, bound);
}

type Init = LoraSettings['init'];

/** A tensor of the plan. @throws PeftError INTERNAL when there is none: the plan has not been settled */
export function planned(given: Params<Tensor>, letter: string): Tensor {
  const tensor = given[letter];
  if (tensor) return tensor;
  throw new PeftError('INTERNAL', `The start needs "${letter}" of the plan: settle the plan before it.`);
}

/**
 * Starts of the factors, by the value of `init`. NOTE: the paper draws A from a Gaussian, its code from U(±1/√in).
 * @param given what the plan has found, for starts that look at the weight or the data
 */
export function startFactors(
  init: Init,
  { r, inside, out, embedding }: { r: number; inside: number; out: number; embedding: boolean },
  rng: Random,
  given: Params<Tensor>,
): StartFactors {
  const [ra, rb] = [rng.fork('a'), rng.fork('b')];
  // Embeddings change roles: rows of A are looked up, so A starts at zero and B at random.
  if (embedding) return { a: init === false ? ra.normal([r, inside]) : zeros([r, inside]), b: rb.normal([out, r]) };
  switch (init) {
    case true:
      return { a: kaiming(ra, [r, inside], inside), b: zeros([out, r]) };
    case 'gaussian':
      return { a: ra.normal([r, inside], 0, 1 / r), b: zeros([out, r]) };
    case false:
      return { a: kaiming(ra, [r, inside], inside), b: kaiming(rb, [out, r], r) };
    case 'orthogonal':
      return orthogonalFactors(r, inside, out, rng);
    case 'eva':
      return { a: planned(given, 'a'), b: zeros([out, r]) };
    case 'pissa':
    case 'olora':
      return { a: planned(given, 'a'), b: planned(given, 'b') };
  }
}

/**
 * Both factors non-zero with B A = 0: A = (N₁ Q₁)ᵀ / 10 and B = N₂ Q₂ / 10, where Q₁ and Q₂ are the even and odd rows of a
 * random orthogonal r × r matrix and N₁ (in × r/2), N₂ (out × r/2) are standard normal, as in PEFT.
 */
function orthogonalFactors(r: number, inside: number, out: number, rng: Random): StartFactors {
  const q = orthonormalBasis(rng.fork('q').normal([r, r]).data as Float32Array, r);
  const half = r / 2;
  const mix = (
    n: Float32Array,
    rows: number,
    parity: 0 | 1,
    write: (row: number, column: number, value: number) => void,
  ) => {
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < r; j++) {
        let sum = 0;
        for (let k = 0; k < half; k++) sum += n[i * half + k]! * q[(2 * k + parity) * r + j]!;
        write(i, j, sum / 10);
      }
  };
  const a = new Float32Array(r * inside);
  const b = new Float32Array(out * r);
  mix(rng.fork('a').normal([inside, half]).data as Float32Array, inside, 0, (i, j, value) => {
    a[j * inside + i] = value;
  });
  mix(rng.fork('b').normal([out, half]).data as Float32Array, out, 1, (o, j, value) => {
    b[o * r + j] = value;
  });
  return { a: f32([r, inside], a), b: f32([out, r], b) };
}

/** The start of B's bias: 0, or what a linear layer of r inputs starts with when everything is random. */
export const startBias = (init: Init, r: number, out: number, rng: Random): Tensor =>
  init === false ? kaiming(rng.fork('bias'), [out], r) : zeros([out]);

/** (A Aᵀ + 1e-8 I)⁻¹ / s²: r × r. A never changes under LoRA-FA, so neither does this. */
export function correction(a: Tensor, s: number): Tensor {
  const [r, n] = a.shape as readonly [number, number];
  const x = a.data as Float32Array;
  const gram = new Float64Array(r * r);
  for (let i = 0; i < r; i++)
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? 1e-8 : 0;
      for (let k = 0; k < n; k++) sum += x[i * n + k]! * x[j * n + k]!;
      gram[i * r + j] = sum;
      gram[j * r + i] = sum;
    }
  return f32(
    [r, r],
    inversePositive(gram, r).map((value) => value / s ** 2),
  );
}
