/** Weights of two vectors in their interpolation at t. */
export type Pair = readonly [number, number];

/** (1 - t, t). */
export const lerpWeights = (t: number): Pair => [1 - t, t];

/**
 * Along the great circle: sin((1 - t) θ) / sin θ and sin(t θ) / sin θ (Shoemake 1985, section 3.3); a straight line where
 * sin θ is below `flat`, as the circle through parallel or opposite vectors is not defined.
 */
export function slerpWeights(cosine: number, t: number, flat: number): Pair {
  const theta = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(theta);
  if (Math.abs(sine) < flat) return lerpWeights(t);
  return [Math.sin((1 - t) * theta) / sine, Math.sin(t * theta) / sine];
}
