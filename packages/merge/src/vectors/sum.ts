/** Σ wᵢ xᵢ in float64, stored in float32. All arrays have one length. */
export function weightedSum(arrays: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const sums = new Float64Array(arrays[0]!.length);
  arrays.forEach((values, i) => {
    const weight = weights[i]!;
    for (let j = 0; j < sums.length; j++) sums[j] = sums[j]! + weight * values[j]!;
  });
  const out = new Float32Array(sums.length);
  for (let j = 0; j < out.length; j++) out[j] = sums[j]!;
  return out;
}
