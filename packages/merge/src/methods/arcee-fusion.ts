import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { eachFibre } from '../vectors/fibres.js';
import { noWeights } from './options.js';

/** Keeps the logarithm of a vanishing probability finite. */
const eps = 1e-8;

function softmax(values: Float32Array, indices: Uint32Array): Float64Array {
  const x = Float64Array.from(indices, (j) => values[j]!);
  const highest = x.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    x[i] = Math.exp(x[i]! - highest);
    sum += x[i]!;
  }
  return x.map((value) => value / sum + eps);
}

/** KL divergence of a row of the model from that of the base, in float64: its terms cancel. */
function divergence(model: Float32Array, base: Float32Array, indices: Uint32Array): number {
  const [p, q] = [softmax(model, indices), softmax(base, indices)];
  return p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
}

/** The element int(q (n - 1)) of the sorted values. */
const quantile = (sorted: Float64Array, q: number): number => sorted[Math.floor(q * (sorted.length - 1))]!;

/**
 * Takes over the differences that matter: those whose |θ - θ₀| times the divergence of their row (softmax over the last
 * axis) reaches median + 1.5 times the quartile distance of the tensor. NOTE: mergekit estimates quantiles of more than
 * a million elements from a random sample; here they are exact, which holds one tensor in memory in float64.
 */
export const arceeFusion = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'arcee_fusion',
  config: z.strictObject({}),
  base: 'required',
  models: { min: 1, max: 1 },
  check: ({ weights }) => noWeights(weights, 'importance decides'),
  pieces: () => 'tensor',
  combine({ base: from, models, shape }) {
    const base = from!;
    const model = models[0]!;
    const importance = new Float64Array(model.length);
    eachFibre(shape, -1, model.length, (indices) => {
      const kl = divergence(model, base, indices);
      for (const j of indices) importance[j] = Math.abs(model[j]! - base[j]!) * kl;
    });
    const sorted = importance.slice().sort();
    const threshold = quantile(sorted, 0.5) + 1.5 * (quantile(sorted, 0.75) - quantile(sorted, 0.25));
    return model.map((x, j) => (importance[j]! >= threshold ? x : base[j]!));
  },
});
