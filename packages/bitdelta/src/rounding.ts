/** The nearest integer, ties to the even one. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1;
  return down % 2 === 0 ? down : down + 1;
}

export const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));
