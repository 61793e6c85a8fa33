import type { Random } from '@peftjs/core';

/** `count` different integers below `size`, ascending, each set as likely as any other (Floyd's algorithm): memory for `count`. */
export function distinct(rng: Random, count: number, size: number): Float64Array {
  const words = rng.bits(2 * count);
  const chosen = new Set<number>();
  for (let k = 0; k < count; k++) {
    const last = size - count + k;
    const u = ((words[2 * k]! >>> 5) * 2 ** 26 + (words[2 * k + 1]! >>> 6)) * 2 ** -53; // 53 random bits
    const drawn = Math.floor(u * (last + 1));
    chosen.add(chosen.has(drawn) ? last : drawn);
  }
  return Float64Array.from(chosen).sort();
}
