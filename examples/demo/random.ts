/** A seeded stream of numbers for making data: the same rows on every machine. Not for cryptography or statistics. */
export interface Draw {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, n). */
  below(n: number): number;
  pick<T>(items: readonly T[]): T;
  /** `count` different items, in random order. */
  sample<T>(items: readonly T[], count: number): T[];
}

export function createDraw(seed: number): Draw {
  let state = seed >>> 0;
  // A Weyl sequence through a 32-bit finalizer (multiply, xor-shift): every seed has period 2^32.
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => Math.floor(next() * n);
  return {
    next,
    below,
    pick: (items) => items[below(items.length)]!,
    sample: (items, count) => {
      const pool = [...items];
      // The first `count` steps of a Fisher-Yates shuffle.
      for (let i = 0; i < count; i++) {
        const j = i + below(pool.length - i);
        [pool[i], pool[j]] = [pool[j]!, pool[i]!];
      }
      return pool.slice(0, count);
    },
  };
}
