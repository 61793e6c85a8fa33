import type { Chunk, Source } from '../define.js';

/** τ = θ - θ₀ of model i, or θ itself without a base, in float64: exact for float32 inputs. */
export function taskVector({ base, models }: Chunk, i: number): Float64Array {
  const model = models[i]!;
  const out = new Float64Array(model.length);
  if (!base) out.set(model);
  else for (let j = 0; j < out.length; j++) out[j] = model[j]! - base[j]!;
  return out;
}

/** The task vector of model i rounded to float32: all that a selection looks at. */
export const roundedTaskVectorOf =
  (i: number): Source =>
  ({ base, models }) => {
    const model = models[i]!;
    const out = new Float32Array(model.length);
    for (let j = 0; j < out.length; j++) out[j] = model[j]! - (base ? base[j]! : 0);
    return out;
  };

/** The task vector of model i as a source of reducers. */
export const taskVectorOf =
  (i: number): Source =>
  (chunk) =>
    taskVector(chunk, i);

/** θ₀ + λ m in float64, stored in float32. */
export function addToBase(base: Float32Array, delta: Float64Array, lambda = 1): Float32Array {
  const out = new Float32Array(base.length);
  for (let j = 0; j < out.length; j++) out[j] = base[j]! + lambda * delta[j]!;
  return out;
}
