import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Adapter, applyAdapter, f32, maskTerm, packMask, writeAdapter } from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { pruningScores, weakest } from '@peftjs/dsee';
import { prunedParameters } from '@peftjs/models';
import { compare } from '@peftjs/testkit';
import { openBase } from './base.js';
import { type CaseFolder, readTensors } from './case.js';
import type { Checks } from './checks.js';
import { caseName, type DseeRecord, type Named } from './dsee-case.js';
import type { Trained } from './trained.js';

/** Compares tensors of the method with the expected ones under a prefix. */
export function compareAll(checks: Checks, prefix: string, tensors: Named): void {
  for (const [name, tensor] of tensors) checks.tensor(`${prefix}/${caseName(name)}`, tensor);
}

/** Masks are the same or not. */
export function compareMasks(checks: Checks, prefix: string, expected: Named, masks: Named): void {
  for (const [path, mask] of masks) {
    const name = `${prefix}/${path}`;
    const wanted = expected.get(name);
    if (!wanted) continue;
    checks.leave((open) => open === name);
    const wrong = Array.from(mask.data, Number).filter((bit, i) => bit !== Number(wanted.data[i])).length;
    if (wrong > 0) checks.problem(`${name}: ${wrong} of ${mask.data.length} entries differ`);
  }
}

/** An adapter written for PEFT has the tensors of the case's own file. */
export async function compareExport(checks: Checks, folder: string, adapter: Adapter): Promise<void> {
  const out = await mkdtemp(join(tmpdir(), 'peftjs-goldens-'));
  try {
    await writeAdapter(out, adapter, { layout: 'SUPERTUNING' });
    const [got, expected] = await Promise.all(
      [out, folder].map((path) => readTensors(path, 'adapter_model.safetensors')),
    );
    for (const [name, tensor] of expected!) {
      const own = got!.get(name);
      // 2.5e-4: what the case allows for trained tensors.
      const { close, message } = own
        ? compare(own, tensor, { relToMax: 2.5e-4 })
        : { close: false, message: 'missing' };
      if (!close) checks.problem(`the export's ${name}: ${message}`);
    }
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** Terms of an adapter behind the masks of the base that it was made for. */
export const onMasked = (adapter: Adapter, masks: Named): Adapter => ({
  ...adapter,
  delta: {
    shape: new Map([
      ...adapter.delta.shape,
      ...[...masks].map(([path, { shape }]) => [`${path}.weight`, shape] as const),
    ]),
    params: new Map(
      [...masks].map(([path, { data }]) => [
        `${path}.weight`,
        [maskTerm(packMask(data as Uint8Array)), ...(adapter.delta.params.get(`${path}.weight`) ?? [])],
      ]),
    ),
  },
});

/** The scores of all heads, and the model without the lowest of each layer. */
export async function compareHeads(
  checks: Checks,
  folder: CaseFolder<DseeRecord>,
  base: Trained['base'],
  adapter: Adapter,
  use: (smaller: Trained['base']) => Promise<void>,
): Promise<void> {
  const { record, root } = folder;
  const { model } = base;
  const scores = await pruningScores(adapter, model);
  // The case sums |U V + S₂|, without the scale that all of ΔW has.
  const s = record.config.alpha / record.config.r;
  const heads = [...scores.values()].map((own) => own.heads.map((score) => score / s));
  checks.tensor('head_scores', f32([heads.length, heads[0]!.length], heads.flat()));
  const removed = weakest(scores, { heads: record.config.prune_heads_per_layer });
  const lowest = [...removed.values()].map((own) => own.heads);
  if (JSON.stringify(lowest) !== JSON.stringify(record.heads_removed))
    checks.problem(`heads ${JSON.stringify(lowest)} are the lowest, expected ${JSON.stringify(record.heads_removed)}`);
  const { parameters } = applyAdapter(model.parameters, adapter);
  const out = await mkdtemp(join(tmpdir(), 'peftjs-goldens-'));
  try {
    const pruned = prunedParameters({ targets: model.targets, parameters }, removed);
    await writeSafetensors(join(out, 'model.safetensors'), pruned);
    await copyFile(join(root, record.base!.path, 'config.json'), join(out, 'config.json'));
    await use(await openBase({ ...folder, root: out, record: { ...record, base: { ...record.base!, path: '.' } } }));
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}
