import type { Chunk, Source } from '../define.js';
import { floats, subtract } from '../kernels/index.js';
import { weightedSum } from './sum.js';

/** τ = θ - θ₀ of model i, or a copy of θ without a base. */
export function taskVector({ base, models }: Chunk, i: number): Float32Array {
  const model = models[i]!;
  const out = floats(model.length);
  if (base) subtract(out, model, base);
  else out.set(model);
  return out;
}

/** The task vector of model i as a source of reducers. */
export const taskVectorOf =
  (i: number): Source =>
  (chunk) =>
    taskVector(chunk, i);

/** θ₀ + λ m. */
export function addToBase(base: Float32Array, delta: Float32Array, lambda = 1): Float32Array {
  return weightedSum([base, delta], [1, lambda]);
}
