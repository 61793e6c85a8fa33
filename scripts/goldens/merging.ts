import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom, isPeftError, type Random } from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import type { CaseFolder, CaseRecord, Kind, Tensors } from './case.js';
import { readTensors } from './case.js';

/** A case of merging as its case.json has it. */
export interface MergeRecord extends Omit<CaseRecord, 'tolerance'> {
  readonly id: string;
  readonly variant: string;
  readonly expect: 'tensors' | 'values' | 'refusal';
  readonly inputs: Readonly<Record<string, string | readonly string[]>>;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly aux?: Readonly<Record<string, string>>;
  readonly tolerance?: { readonly atol: number; readonly rtol: number };
  readonly values?: Readonly<Record<string, unknown>>;
  readonly tensors_compared?: readonly string[];
  readonly tensors_not_compared?: Readonly<Record<string, string>>;
  readonly ambiguous_tensors?: readonly string[];
  readonly tensor_notes?: Readonly<Record<string, string>>;
}

/** A case with its inputs in memory. */
export interface MergeCase {
  readonly record: MergeRecord;
  readonly p: Readonly<Record<string, unknown>>;
  readonly base: Tensors | undefined;
  readonly models: readonly Tensors[];
  /** File names of the models without folder and ending: the keys of draws. */
  readonly ids: readonly string[];
  readonly weights: readonly number[] | undefined;
  /** Tensors of another entry of `inputs` or `aux`. */
  extra(name: string): Promise<readonly Tensors[]>;
}

const list = (paths: string | readonly string[] | undefined): readonly string[] =>
  paths === undefined ? [] : typeof paths === 'string' ? [paths] : paths;

/** Strict JSON has no NaN: the record writes it as a string. */
const numbers = (weights: unknown): number[] | undefined => (Array.isArray(weights) ? weights.map(Number) : undefined);

async function open({ root, path, record: raw }: CaseFolder): Promise<MergeCase> {
  const record = raw as unknown as MergeRecord;
  const { inputs, parameters, aux = {} } = record;
  const read = (file: string) => readTensors(existsSync(join(path, file)) ? path : root, file);
  const all = (files: string | readonly string[] | undefined) => Promise.all(list(files).map(read));
  const [base] = await all(inputs.base);
  return {
    record,
    p: parameters,
    base,
    models: await all(inputs.models),
    ids: list(inputs.models).map((file) => file.replace(/^.*\//, '').replace(/\.safetensors$/, '')),
    weights: numbers(parameters.weights),
    extra: (name) => all(inputs[name] ?? aux[name]),
  };
}

export interface MergeKindOptions {
  /** Tensors whose expectation reproduces what this library does not, with the reason. */
  readonly leave?: (name: string, record: MergeRecord) => boolean;
  /** Tensors of equal magnitudes, where only the number of elements that move from the base is certain. */
  readonly counted?: (name: string, record: MergeRecord) => boolean;
  /** Where a record asks for a refusal or a defined result: what is wrong with a result; nothing when it is right. */
  readonly instead?: (result: Tensors, merge: MergeCase) => string[];
}

async function refuses(
  merge: MergeCase,
  method: (merge: MergeCase) => Promise<Tensors>,
  { instead }: MergeKindOptions,
) {
  let result: Tensors;
  try {
    result = await method(merge);
  } catch (error) {
    if (isPeftError(error)) return;
    throw error;
  }
  const problems = instead?.(result, merge) ?? [`was not refused: ${merge.record.values?.why}`];
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

/** How many elements of a tensor differ from the base's. */
function moved(name: string, of: Tensors, base: Tensors | undefined): number {
  const from = base!.get(name)!.data as Float32Array;
  return (of.get(name)!.data as Float32Array).reduce((sum, x, j) => sum + (x === from[j] ? 0 : 1), 0);
}

/** A kind that merges as `method` says and compares with what the record expects. */
export function mergeKind(method: (merge: MergeCase) => Promise<Tensors>, options: MergeKindOptions = {}): Kind['run'] {
  return async (folder) => {
    const merge = await open(folder);
    const { record } = merge;
    if (record.expect === 'refusal') return refuses(merge, method, options);
    const expected = await readTensors(folder.path, 'expected.safetensors');
    const result = await method(merge);
    const problems: string[] = [];
    for (const [name, want] of expected) {
      if (name in (record.tensors_not_compared ?? {}) || options.leave?.(name, record)) continue;
      const got = result.get(name);
      if (options.counted?.(name, record)) {
        const [have, wanted] = [result, expected].map((of) => moved(name, of, merge.base));
        if (have !== wanted) problems.push(`${name}: ${have} elements differ from the base, expected ${wanted}`);
        continue;
      }
      const { atol, rtol } = record.tolerance!;
      const { close, message } = got
        ? compare(got, want, { absolute: atol, relative: rtol })
        : { close: false, message: 'was not computed' };
      if (!close) problems.push(`${name}: ${message}`);
      if (got && got.dtype !== want.dtype) problems.push(`${name}: dtype ${got.dtype}, expected ${want.dtype}`);
    }
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
}

/** A stream of given numbers instead of random ones: word i gives uniform draw i, rounded to its 24 bits. */
const given = (draws: Float32Array): Random => ({
  ...createRandom(0),
  bits: (count, from = 0) => Uint32Array.from(draws.subarray(from, from + count), (u) => Math.floor(u * 2 ** 24) * 256),
});

/** Uniform draws of a tensor by `model|tensor`, as the stream that a method forks by the model's name. */
export const drawsOf =
  (draws: Tensors) =>
  (tensor: string): Random => ({
    ...createRandom(0),
    fork: (id) => given(draws.get(`${id}|${tensor}`)!.data as Float32Array),
  });

/** The bytes of a keep mask (1 = keep) for elements 4 `word` to 4 `word` + 3, the first lowest: 0 stays, 255 goes. */
const maskWord = (mask: ArrayLike<unknown>, word: number): number =>
  [0, 1, 2, 3].reduce((bytes, lane) => bytes + (Number(mask[4 * word + lane] ?? 1) ? 0 : 255 * 256 ** lane), 0);

/** Keep masks by `model|tensor` as the random bytes of each element; where a byte does not decide, the mask does again. */
export const masksAsBytes =
  (masks: Tensors) =>
  (tensor: string): Random => ({
    ...createRandom(0),
    fork: (id) => {
      const mask = masks.get(`${id}|${tensor}`)!.data as Uint8Array;
      return {
        ...createRandom(0),
        bits: (count, from = 0) => Uint32Array.from({ length: count }, (_, i) => maskWord(mask, from + i)),
        fork: () => given(Float32Array.from(mask, (keep) => (keep ? 0 : 1 - 2 ** -24))),
      };
    },
  });
