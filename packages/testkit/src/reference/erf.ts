const terms = 120;

/**
 * The error function, to about one unit in the last place of a double: near zero the series
 * 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!! (all terms positive), further out one minus the continued fraction
 * of erfc (Abramowitz and Stegun 7.1.6 and 7.1.14).
 */
export function erf(x: number): number {
  const t = Math.abs(x);
  if (Number.isNaN(t)) return Number.NaN;
  if (t > 6) return Math.sign(x); // 1 - erf(6) is below 1e-16
  if (t < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; n < terms && Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = t;
  for (let k = terms; k > 0; k--) fraction = t + k / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-t * t) / (Math.sqrt(Math.PI) * fraction));
}
