import { PeftError } from '../errors.js';
import { elementCount } from './dtype.js';
import { gaussianPair } from './gaussian.js';
import { philox } from './philox.js';
import type { Tensor } from './tensor.js';

/** What the numbers of a seed depend on. A change of any number needs a new name. */
export const randomAlgorithm = 'philox4x32-10/1';

/**
 * A stream of random numbers without state: element i is a pure function of (key, i), so calls can be repeated, cut and
 * reordered. Two tensors that must be independent come from two forks.
 */
export interface Random {
  readonly key: readonly [number, number];
  /** float32 in [low, high): low + (high - low) (u >>> 8) 2^-24, rounded to float32. Default [0, 1). */
  uniform(shape: readonly number[], low?: number, high?: number): Tensor;
  /** float32, the same bits on every engine; at most 6.66 standard deviations from the mean. Default N(0, 1). */
  normal(shape: readonly number[], mean?: number, std?: number): Tensor;
  /** 32-bit words `from` to `from + count`: word i is word (i & 3) of block (i >> 2, 0, 0). */
  bits(count: number, from?: number): Uint32Array;
  /** A random order of 0 to n - 1 (Fisher-Yates). */
  permutation(n: number): Int32Array;
  /** The stream of a name within this one, e.g. `fork('model.layers.0.self_attn.q_proj', 'a')`. 1 and '1' differ. */
  fork(...labels: (string | number)[]): Random;
}

/** Words made at a time where they are only passed through; even, so that no pair is cut. */
const chunkWords = 4096;

function words([k0, k1]: readonly [number, number], from: number, out: Uint32Array): Uint32Array {
  const block = new Uint32Array(4);
  let done = 0;
  while (done < out.length) {
    const word = from + done;
    const index = Math.floor(word / 4);
    const skip = word % 4;
    const whole = skip === 0 && out.length - done >= 4;
    philox(index % 4294967296, Math.floor(index / 4294967296), 0, 0, k0, k1, whole ? out : block, whole ? done : 0);
    if (whole) done += 4;
    else for (let lane = skip; lane < 4 && done < out.length; lane++) out[done++] = block[lane]!;
  }
  return out;
}

/** Calls `use` for words 0 to `count`, chunk by chunk: `at` is the index of the first word of a chunk. */
function eachChunk(key: readonly [number, number], count: number, use: (chunk: Uint32Array, at: number) => void): void {
  const chunk = new Uint32Array(chunkWords);
  for (let at = 0; at < count; at += chunkWords)
    use(words(key, at, chunk.subarray(0, Math.min(chunkWords, count - at))), at);
}

function uniform(key: readonly [number, number], shape: readonly number[], low: number, high: number): Tensor {
  const data = new Float32Array(elementCount(shape));
  eachChunk(key, data.length, (chunk, at) => {
    for (let i = 0; i < chunk.length; i++) data[at + i] = low + (high - low) * ((chunk[i]! >>> 8) * 2 ** -24);
  });
  return { dtype: 'f32', shape, data };
}

/** Elements 2j and 2j + 1 are the Box-Muller pair of words 2j and 2j + 1. */
function normal(key: readonly [number, number], shape: readonly number[], mean: number, std: number): Tensor {
  const data = new Float32Array(elementCount(shape));
  const pair = new Float64Array(2);
  eachChunk(key, data.length + (data.length % 2), (chunk, at) => {
    for (let i = 0; i < chunk.length; i += 2) {
      gaussianPair(chunk[i]!, chunk[i + 1]!, pair);
      data[at + i] = mean + std * pair[0]!;
      if (at + i + 1 < data.length) data[at + i + 1] = mean + std * pair[1]!;
    }
  });
  return { dtype: 'f32', shape, data };
}

/** Fisher-Yates from the end; place i swaps with floor(u (i + 1)), u of 53 bits from words 2i and 2i + 1. */
function permutation(key: readonly [number, number], n: number): Int32Array {
  const order = Int32Array.from({ length: elementCount([n]) }, (_, i) => i);
  const random = words(key, 0, new Uint32Array(2 * n));
  for (let i = n - 1; i > 0; i--) {
    const u = ((random[2 * i]! >>> 5) * 2 ** 26 + (random[2 * i + 1]! >>> 6)) * 2 ** -53;
    const other = Math.floor(u * (i + 1));
    const kept = order[i]!;
    order[i] = order[other]!;
    order[other] = kept;
  }
  return order;
}

/** Marks the blocks that make keys, so that they never coincide with blocks of numbers (whose last word is 0). */
const forkMark = 0x666f726b; // 'fork'

/** The labels as JSON in UTF-8, twelve bytes a block; each block gives the key of the next. */
function forkKey(key: readonly [number, number], labels: readonly (string | number)[]): readonly [number, number] {
  const wrong = labels.find((label) => typeof label === 'number' && !Number.isFinite(label));
  if (labels.length === 0 || wrong !== undefined)
    throw new PeftError('CONFIG_INVALID', `A random stream is forked by strings and finite numbers, not by ${wrong}.`);
  const text = new TextEncoder().encode(JSON.stringify(labels));
  const padded = new DataView(new ArrayBuffer(Math.ceil(text.length / 12) * 12));
  new Uint8Array(padded.buffer).set(text);
  const block = new Uint32Array(4);
  let [k0, k1] = key;
  for (let at = 0; at < padded.byteLength; at += 12) {
    const word = (lane: number) => padded.getUint32(at + 4 * lane, true);
    philox(word(0), word(1), word(2), forkMark, k0, k1, block, 0);
    k0 = block[0]!;
    k1 = block[1]!;
  }
  return [k0, k1];
}

const fromKey = (key: readonly [number, number]): Random => ({
  key,
  uniform: (shape, low = 0, high = 1) => uniform(key, shape, low, high),
  normal: (shape, mean = 0, std = 1) => normal(key, shape, mean, std),
  bits: (count, from = 0) => words(key, from, new Uint32Array(count)),
  permutation: (n) => permutation(key, n),
  fork: (...labels) => fromKey(forkKey(key, labels)),
});

/**
 * The stream of a seed.
 * @param seed an integer from 0 to 2^64 - 1 (as a number to 2^53 - 1).
 * @throws PeftError CONFIG_INVALID for any other seed.
 */
export function createRandom(seed: number | bigint): Random {
  const valid = typeof seed === 'bigint' ? seed >= 0n && seed < 1n << 64n : Number.isSafeInteger(seed) && seed >= 0;
  if (!valid) throw new PeftError('CONFIG_INVALID', `The seed ${seed} is not an integer from 0 to 2^64 - 1.`);
  const whole = BigInt(seed);
  return fromKey([Number(whole & 0xffffffffn), Number(whole >> 32n)]);
}
