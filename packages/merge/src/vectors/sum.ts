import { weightedSum as addUp, floats } from '../kernels/index.js';

/** Σ wᵢ xᵢ in float64, stored in float32. All arrays have one length. */
export function weightedSum(arrays: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const out = floats(arrays[0]!.length);
  addUp(out, arrays, weights);
  return out;
}
