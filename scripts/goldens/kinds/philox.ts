import { createRandom, f32, philox } from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import { type CaseFolder, type CaseRecord, readJson } from '../case.js';

interface PhiloxRecord extends CaseRecord {
  readonly stream: { readonly rule: string; readonly first_64: readonly number[] };
}

interface Answer {
  readonly counter: readonly string[];
  readonly key: readonly string[];
  readonly output: readonly string[];
  readonly float: readonly number[];
}

const words = (hex: readonly string[]): number[] => hex.map((word) => Number.parseInt(word, 16));

/** (u >>> 8) 2^-24 2 - 1: in [-1, 1), exact in float32. */
const toFloat = (word: number): number => (word >>> 8) * 2 ** -24 * 2 - 1;

/** Known answers of the generator, and the stream of a key as the library draws it. Everything is exact. */
export async function run({ path, record }: CaseFolder): Promise<void> {
  const { philox4x32_10: answers } = (await readJson(path, 'known-answers.json')) as { philox4x32_10: Answer[] };
  const problems: string[] = [];
  for (const { counter, key, output, float } of answers) {
    const [c0, c1, c2, c3] = words(counter) as [number, number, number, number];
    const [k0, k1] = words(key) as [number, number];
    const block = new Uint32Array(4);
    philox(c0, c1, c2, c3, k0, k1, block, 0);
    const hex = Array.from(block, (word) => word.toString(16).padStart(8, '0'));
    if (hex.join() !== output.join()) problems.push(`counter ${counter}, key ${key}: ${hex}, expected ${output}`);
    if (Array.from(block, toFloat).join() !== float.join()) problems.push(`counter ${counter}: floats differ`);
  }
  const { first_64: expected, rule } = (record as PhiloxRecord).stream;
  const [seed] = /key \((\d+), 0\)/.exec(rule)!.slice(1) as [string];
  const got = Float32Array.from(createRandom(Number(seed)).bits(expected.length), toFloat);
  const stream = compare(f32([got.length], got), f32([expected.length], expected), { absolute: 0 });
  if (!stream.close) problems.push(`stream: ${stream.message}`);
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
