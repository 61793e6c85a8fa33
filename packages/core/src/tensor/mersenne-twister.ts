import { elementCount } from './dtype.js';
import { f32 } from './refs.js';
import type { Tensor } from './tensor.js';

// Words of the state, and how far ahead the word lies that a new one is made with.
const n = 624;
const m = 397;

/**
 * 32-bit words of MT19937 (Matsumoto and Nishimura 1998), begun from one word as its authors' 2002 version does. For
 * numbers that other programs draw with it; our own come from `createRandom`.
 */
export function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(n);
  state[0] = seed;
  for (let i = 1; i < n; i++) state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i;
  let at = n;
  return () => {
    if (at === n) {
      twist(state);
      at = 0;
    }
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < n; i++) {
    const y = (state[i]! & 0x80000000) | (state[(i + 1) % n]! & 0x7fffffff);
    state[i] = state[(i + m) % n]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
}

/**
 * PyTorch's `uniform_` in float32 on its CPU generator: [-bound, bound), from the low 24 bits of a word each. Product and
 * sum are rounded once, as by the fused instruction that its builds have.
 */
export function torchUniform(next: () => number, shape: readonly number[], bound: number): Tensor {
  const low = Math.fround(-bound);
  const width = Math.fround(Math.fround(bound) - low);
  const draw = () => (next() & 0xffffff) * 2 ** -24 * width + low;
  return f32(shape, Float32Array.from({ length: elementCount(shape) }, draw));
}
