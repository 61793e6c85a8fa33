import { join } from 'node:path';
import {
  type Adapter,
  attachDelta,
  type Backend,
  builtinKinds,
  builtinLayouts,
  readAdapter,
  type Tensor,
} from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import { logitsOf, mergedParameter } from './adapted.js';
import { type Base, masked } from './base.js';
import type { CaseFolder, Tensors } from './case.js';
import { checkIndices, outputOf } from './case-run.js';
import type { Checks } from './checks.js';

type Feeds = Readonly<Record<string, Tensor>>;

/** The tensors under a prefix, without it. */
export const within = (tensors: Tensors, prefix: string): Map<string, Tensor> =>
  new Map([...tensors].flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])));

/** The names of the expected tensors under a prefix, without it. */
export const under = ({ expected }: CaseFolder, prefix: string): string[] =>
  [...expected.keys()].flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));

/** What a sparse adapter changes of a parameter. */
async function entriesOf({ delta }: Adapter, path: string) {
  const term = delta.params.get(path)?.[0];
  if (!term) return undefined;
  const indices = Array.from((await term.tensors.indices!.read()).data as ArrayLike<number>, Number);
  return { indices, values: await term.tensors.values!.read() };
}

/** Compares values and indices under a prefix with the adapter's. @param path of the parameter that a name stands for */
export async function checkSparse(
  folder: CaseFolder,
  checks: Checks,
  prefix: string,
  adapter: Adapter,
  path: (name: string) => string = (name) => name,
): Promise<void> {
  const names = under(folder, prefix).flatMap((name) => (name.endsWith('.indices') ? [name.slice(0, -8)] : []));
  for (const name of names) {
    const entries = await entriesOf(adapter, path(name));
    checkIndices(folder, checks, `${prefix}${name}.indices`, entries?.indices);
    if (folder.expected.get(`${prefix}${name}.values`)!.shape[0] === 0)
      checks.leave((one) => one === `${prefix}${name}.values`);
    else checks.tensor(`${prefix}${name}.values`, entries?.values);
  }
}

/** Compares the merged parameters that the case has. */
export async function checkMerged(folder: CaseFolder, checks: Checks, base: Base, adapters: readonly Adapter[]) {
  for (const path of under(folder, 'merged/'))
    checks.tensor(`merged/${path}`, await mergedParameter(base, adapters, path));
}

/** Compares logits on rows that carry meaning. */
export async function checkLogits(
  folder: CaseFolder,
  checks: Checks,
  name: string,
  { base, adapters, feeds, mask, backend }: LogitsOf,
): Promise<void> {
  checks.tensor(name, masked(await logitsOf(base, adapters, feeds, backend), folder.expected.get(name)!, mask));
}

export interface LogitsOf {
  readonly base: Base;
  readonly adapters: readonly Adapter[];
  readonly feeds: Feeds;
  readonly mask: Tensor | undefined;
  readonly backend: Backend;
}

/** The loss of the base with an adapter. */
export async function lossOf({ model }: Base, adapter: Adapter, feeds: Feeds, backend: Backend): Promise<number> {
  const form = await attachDelta(model.graph('train'), adapter, { parameters: model.parameters });
  return Number((await outputOf(form, form.loss!.name, feeds, backend)).data[0]);
}

/** The adapter through PEFT's SHIRA layout: what is written there computes the same, and so does what PEFT was given. */
export async function checkShira(
  folder: CaseFolder,
  checks: Checks,
  { base, feeds, mask, backend }: Omit<LogitsOf, 'adapters'>,
  trained: Adapter,
): Promise<void> {
  const name = 'logits/export_shira_in_peft';
  checks.leave((one) => one === name);
  const expected = folder.expected.get(name)!;
  const { targets, parameters } = base.model;
  const layout = builtinLayouts.get('SHIRA')!;
  const facts = { base: { targets, parameters }, warn: () => {} };
  const { config, tensors } = await layout.write(trained, { kinds: builtinKinds, base: { targets } });
  const own = await layout.read({ config, tensors, ...facts, kinds: builtinKinds, subject: 'The adapter' });
  const theirs = await readAdapter(join(folder.path, 'export_shira'), facts);
  for (const [whose, adapter] of Object.entries({ own: { ...trained, ...own }, theirs })) {
    const got = masked(await logitsOf(base, [adapter], feeds, backend), expected, mask);
    const relToMax = folder.record.tolerance!.suggested['logits/end']!.rel_to_max;
    const { close, message } = compare(got!, expected, { relToMax });
    if (!close) checks.problem(`${name}, ${whose}: ${message}`);
  }
}
