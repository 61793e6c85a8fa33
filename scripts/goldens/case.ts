import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend, Tensor } from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import type { Comparison } from '@peftjs/testkit';

/** One case as an index lists it. `run` is missing where nothing in this project knows its kind. */
export interface Listed {
  readonly kind: string;
  readonly name: string;
  run?(context: RunContext): Promise<void>;
}

/** What a case runs with. */
export interface RunContext {
  readonly backend: Backend;
  /** Told of every expected tensor that was compared. */
  readonly compared?: Compared;
}

export type Compared = (name: string, difference: Comparison) => void;

/** A part of the goldens folder (`methods`, `merge`, `formats`): lists its cases from its indexes. */
export interface Part {
  cases(folder: string, context: RunContext): AsyncIterable<Listed>;
}

/** How the cases of one kind are run; the file's name is the kind. */
export interface Kind {
  run(folder: CaseFolder, context: RunContext): Promise<void>;
}

export interface CaseRecord {
  readonly name: string;
  readonly kind: string;
  readonly base?: { readonly path: string; readonly class: string };
  readonly tolerance?: { readonly suggested: Readonly<Record<string, { readonly rel_to_max: number }>> };
  readonly zero_by_symmetry?: readonly string[];
}

export type Tensors = ReadonlyMap<string, Tensor>;

/** A case's folder with what is in it. */
export interface CaseFolder<Record extends CaseRecord = CaseRecord> {
  /** The folder that paths of the record are relative to. */
  readonly root: string;
  readonly path: string;
  readonly record: Record;
  readonly inputs: Tensors;
  readonly expected: Tensors;
  readonly compared?: Compared;
}

export const readJson = async (...path: string[]): Promise<unknown> =>
  JSON.parse(await readFile(join(...path), 'utf8'));

/** Every tensor of a safetensors file in memory; none when the file is not there. */
export async function readTensors(...path: string[]): Promise<Map<string, Tensor>> {
  const tensors = new Map<string, Tensor>();
  const file = await openSafetensors(join(...path));
  for (const [name, ref] of file.tensors) tensors.set(name, await ref.read());
  await file.close();
  return tensors;
}

const readIfThere = (path: string, name: string, record: object): Promise<Map<string, Tensor>> =>
  'files' in record && name in (record.files as object) ? readTensors(path, name) : Promise.resolve(new Map());

/** Opens the folder of a case that has a case.json. */
export async function openCase(
  root: string,
  path: string,
  { compared }: Pick<RunContext, 'compared'> = {},
): Promise<CaseFolder> {
  const record = (await readJson(path, 'case.json')) as CaseRecord;
  const inputs = await readIfThere(path, 'inputs.safetensors', record);
  const expected = await readIfThere(path, 'expected.safetensors', record);
  return { root, path, record, inputs, expected, ...(compared && { compared }) };
}
