import { svd } from '@peftjs/core';
import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { noWeights } from './options.js';

export const ReAdaptConfig = z.strictObject({
  scale: z.number().default(1).meta({ description: 'How much of the instruction update is added.' }),
  energy: z.number().gt(0).max(1).optional().meta({
    description: 'Low rank (LoRE-Adapt): the smallest rank that keeps this share of the squared singular values.',
  }),
});

/** A matrix cut to the smallest rank k with Σ_{i<=k} σᵢ² >= energy Σ σᵢ². */
function truncated(delta: Float32Array, [rows, columns]: readonly [number, number], energy: number): Float32Array {
  const { u, s, v } = svd({ rows, columns, data: Float64Array.from(delta) });
  const wanted = energy * s.reduce((sum, x) => sum + x * x, 0);
  let rank = 0;
  for (let kept = 0; rank < s.length && kept < wanted; rank++) kept += s[rank]! ** 2;
  const out = new Float32Array(delta.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += u.data[i * u.columns + k]! * s[k]! * v.data[j * v.columns + k]!;
      out[i * columns + j] = sum;
    }
  return out;
}

/**
 * Gives a model adapted to a domain back what instruction tuning taught: θ_domain + scale (θ_instruct - θ₀)
 * (Fleshman and Van Durme 2024). The first model is the instruction-tuned one, the second the adapted one.
 */
export const reAdapt = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 're_adapt',
  paper: 'https://arxiv.org/abs/2405.15007',
  config: ReAdaptConfig,
  base: 'required',
  models: { min: 2, max: 2 },
  ordered: true,
  check: ({ weights }) => noWeights(weights, 'use scale'),
  pieces: ({ energy }) => (energy === undefined ? 'elements' : 'tensor'),
  combine({ c, ...chunk }) {
    const full = taskVector(chunk, 0);
    const [rows, columns, ...more] = chunk.shape;
    const isMatrix = columns !== undefined && more.length === 0;
    const delta = c.energy !== undefined && isMatrix ? truncated(full, [rows!, columns], c.energy) : full;
    return addToBase(chunk.models[1]!, delta, c.scale);
  },
});
