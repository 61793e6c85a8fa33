import { type Backend, isPeftError } from '@peftjs/core';
import { goldensPath } from '@peftjs/testkit';
import { type Listed, readJson } from '../goldens/case.js';
import { cases } from '../goldens/parts/methods.js';
import { shown, type Table } from './table.js';

interface Trained {
  readonly run: NonNullable<Listed['run']>;
  readonly name: string;
}

/** The reference cases that train, by their kind and the kind of adapter where one kind has several. */
async function trainingCases(folder: string): Promise<Map<string, Trained[]>> {
  const found = new Map<string, Trained[]>();
  for await (const { kind, name, run } of cases(folder)) {
    if (!run || name.endsWith('/files')) continue;
    const record = (await readJson(folder, 'methods', 'cases', name, 'case.json')) as {
      readonly adapter_config?: { readonly peft_type?: string };
      readonly optimizer?: object;
    };
    const type = record.adapter_config?.peft_type;
    const group = type ? `${kind} ${type}` : kind;
    found.set(group, [...(found.get(group) ?? []), { run, name }]);
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The largest difference of a case's losses; undefined where it compares none. */
async function apart({ run, name }: Trained, backend: Backend): Promise<number | undefined> {
  const found: number[] = [];
  const compared = (tensor: string, { maxRel }: { readonly maxRel: number }) => {
    if (tensor.startsWith('loss/')) found.push(maxRel);
  };
  await run({ backend, compared }).catch((error: unknown) => {
    if (isPeftError(error)) throw error;
    console.error(`${name} on ${backend.name} ${backend.device}: ${(error as Error).message}`);
  });
  return found.length > 0 ? Math.max(...found) : undefined;
}

async function cell(trained: readonly Trained[], backend: Backend): Promise<string | undefined> {
  try {
    const all: number[] = [];
    for (const one of trained) all.push(...[(await apart(one, backend)) ?? []].flat());
    return all.length > 0 ? shown(Math.max(...all)) : undefined;
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'BACKEND_UNSUPPORTED') throw error;
    console.error(error.message);
    return '–';
  }
}

/** Reference × backend: the largest difference from the losses of the references, as a part of the largest loss. */
export async function referenceTable(backends: ReadonlyMap<string, Backend>): Promise<Table | undefined> {
  const folder = goldensPath();
  if (!folder) return undefined;
  const rows: string[][] = [['reference', ...backends.keys()]];
  for (const [group, trained] of await trainingCases(folder)) {
    const cells: (string | undefined)[] = [];
    for (const backend of backends.values()) cells.push(await cell(trained, backend));
    if (cells.some((text) => text !== undefined))
      rows.push([`${group} (${trained.length})`, ...cells.map((c) => c ?? '')]);
  }
  return rows;
}
