import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Adapter, isPeftError, lowRank, readAdapter, type Tensor } from '@peftjs/core';
import type { Keep } from '@peftjs/merge';
import { compare } from '@peftjs/testkit';
import type { CaseFolder, Kind } from './case.js';
import { readTensors } from './case.js';
import type { MergeRecord } from './merging.js';

/** A case that merges adapters. */
export interface LoraCase {
  readonly record: MergeRecord;
  readonly adapters: readonly Adapter[];
  /** The adapters with the weights of the case. */
  readonly inputs: readonly { readonly input: Adapter; readonly weight: number }[];
  /** The masks of the case in place of random ones, where it has any. */
  readonly keep?: Keep;
}

async function open({ root, path, record: raw }: CaseFolder): Promise<LoraCase> {
  const record = raw as unknown as MergeRecord;
  const folders = record.inputs.adapters as readonly string[];
  const adapters = [];
  for (const folder of folders) adapters.push(await readAdapter(join(root, folder), { warn: () => {} }));
  const weights = record.parameters.weights as readonly number[];
  const inputs = adapters.map((input, i) => ({ input, weight: weights[i]! }));
  const file = record.aux?.keep_masks;
  if (!file) return { record, adapters, inputs };
  const masks = await readTensors(existsSync(join(path, file)) ? path : root, file);
  return {
    record,
    adapters,
    inputs,
    keep: keepOf(
      masks,
      folders.map((folder) => basename(folder)),
    ),
  };
}

const partNames: Readonly<Record<string, string>> = { a: '|lora_A', b: '|lora_B', delta: '|delta', block: '' };

/** Masks by `adapter|module|part`. */
const keepOf =
  (masks: ReadonlyMap<string, Tensor>, ids: readonly string[]): Keep =>
  ({ input, path, part }) =>
    masks.get(`${ids[input]}|${moduleOf(path)}${partNames[part]}`)!.data as Uint8Array;

export const moduleOf = (path: string): string => path.slice(0, -'.weight'.length);

/** ΔW of every module and its factors, by the names that cases have for them. */
export async function resultsOf({ delta }: Adapter): Promise<Map<string, Tensor>> {
  const results = new Map<string, Tensor>();
  for (const [path, terms] of delta.params) {
    const [term] = terms as [(typeof terms)[number]];
    const module = moduleOf(path);
    results.set(`${module}.delta`, await lowRank.dense(term, delta.shape.get(path)!));
    results.set(`${module}.lora_A.weight`, await term.tensors.a!.read());
    results.set(`${module}.lora_B.weight`, await term.tensors.b!.read());
  }
  return results;
}

type Results = ReadonlyMap<string, Tensor>;

/**
 * A kind that merges adapters as `method` says and compares with what the record expects.
 * @param values what is wrong with the record's numbers, for cases that expect values
 */
export function loraKind(
  method: (merge: LoraCase) => Promise<Results>,
  values?: (merge: LoraCase) => Promise<string[]>,
): Kind['run'] {
  return async (folder) => {
    const { expect } = folder.record as unknown as MergeRecord;
    if (expect === 'refusal') return refuses(folder, method);
    const merge = await open(folder);
    const problems = (await values?.(merge)) ?? [];
    if (expect === 'tensors') problems.push(...(await differences(folder, merge, await method(merge))));
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
}

async function refuses(folder: CaseFolder, method: (merge: LoraCase) => Promise<Results>): Promise<void> {
  try {
    await method(await open(folder));
  } catch (error) {
    if (isPeftError(error)) return;
    throw error;
  }
  throw new Error(`was not refused: ${(folder.record as unknown as MergeRecord).values?.why}`);
}

async function differences({ path }: CaseFolder, { record }: LoraCase, results: Results): Promise<string[]> {
  const expected = await readTensors(path, 'expected.safetensors');
  const { atol, rtol } = record.tolerance!;
  const compared = record.tensors_compared ?? [...expected.keys()];
  return compared.flatMap((name) => {
    const got = results.get(name);
    if (!got) return [`${name}: was not computed`];
    const { close, message } = compare(got, expected.get(name)!, { absolute: atol, relative: rtol });
    return close ? [] : [`${name}: ${message}`];
  });
}
