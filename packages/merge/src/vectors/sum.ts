/** Σ wᵢ xᵢ in float64, stored in float32. All arrays have one length. */
export function weightedSum(arrays: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const out = new Float32Array(arrays[0]!.length);
  for (let j = 0; j < out.length; j++) {
    let sum = 0;
    for (let i = 0; i < arrays.length; i++) sum += weights[i]! * arrays[i]![j]!;
    out[j] = sum;
  }
  return out;
}
