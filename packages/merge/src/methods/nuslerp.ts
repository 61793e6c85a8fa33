import * as z from 'zod';
import type { Chunk } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { eachFibre } from '../vectors/fibres.js';
import { cosine, type Gram, gramOf, gramOfVectors, gramReducers } from '../vectors/gram.js';
import { type Pair, slerpWeights } from '../vectors/sphere.js';
import { weightedSum } from '../vectors/sum.js';

export const NuslerpConfig = z.strictObject({
  axis: z.enum(['all', 'first', 'last']).default('all').meta({
    description:
      "Which vectors are interpolated: whole tensors, those along the first axis (mergekit's nuslerp_row_wise: true), or those along the last.",
  }),
});

/** Below this sine two vectors count as parallel, as in mergekit; below this sum the weights say nothing. */
const flat = 1e-8;
const noWeight = 1e-6;

const share = ([first, second]: readonly number[]): number =>
  Math.abs(first! + second!) < noWeight ? 0.5 : second! / (first! + second!);

const pairOf = (gram: Gram, t: number): Pair => slerpWeights(cosine(gram, 0, 1) ?? 0, t, flat);

/** Each vector along an axis interpolated by itself. */
function alongAxis(
  [a, b]: readonly [Float32Array, Float32Array],
  axis: 'first' | 'last',
  t: number,
  { shape }: Chunk,
): Float32Array {
  const merged = new Float32Array(a.length);
  eachFibre(shape, axis === 'first' ? 0 : -1, a.length, (indices) => {
    const along = [a, b].map((x) => Float64Array.from(indices, (j) => x[j]!));
    const [wa, wb] = pairOf(gramOfVectors(along), t);
    for (const j of indices) merged[j] = wa * a[j]! + wb * b[j]!;
  });
  return merged;
}

/**
 * SLERP by weights, t = w₂ / (w₁ + w₂), of two models, or of two task vectors when there is a base. Inner products
 * and the sum are in float64: nearly opposite vectors are lost in float32.
 */
export const nuslerp = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'nuslerp',
  config: NuslerpConfig,
  base: 'optional',
  models: { min: 2, max: 2 },
  pieces: ({ axis }) => (axis === 'all' ? 'elements' : axis === 'first' ? 'tensor' : 'rows'),
  stats: [({ c }) => (c.axis === 'all' ? gramReducers(2) : {})],
  combine({ c, stats, weights, ...chunk }) {
    const t = share(weights);
    const taus = [taskVector(chunk, 0), taskVector(chunk, 1)] as const;
    const merged = c.axis === 'all' ? weightedSum(taus, pairOf(gramOf(stats), t)) : alongAxis(taus, c.axis, t, chunk);
    return chunk.base ? addToBase(chunk.base, merged) : merged;
  },
});
