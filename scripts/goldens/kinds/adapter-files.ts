import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Adapter, contentDigest, readAdapter, writeAdapter } from '@peftjs/core';
import { compare, type Tolerance } from '@peftjs/testkit';
import { adapterFolders, logitsOf, mergedParameter, openAdapter } from '../adapted.js';
import { type Base, feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';

/** Logits that PEFT gave with an export are compared as closely as float32 sums in another order allow. */
const exported = { relToMax: 1e-5 };

/** Where the results with an adapter's folder stand. */
interface Results {
  readonly logits: string;
  readonly merged?: string;
  /** Set where the case gives no tolerance. */
  readonly exported?: Tolerance;
}

function resultsOf(folder: string): Results | undefined {
  if (folder === 'adapter_start') return { logits: 'logits/start', merged: 'merged_start/' };
  if (folder === 'adapter_end') return { logits: 'logits/end', merged: 'merged/' };
  if (folder === 'adapter_end_converted') return { logits: 'logits/converted_on_untouched_base', exported };
  return folder.startsWith('export_') ? { logits: `logits/${folder}_in_peft`, merged: 'merged/', exported } : undefined;
}

/** The batch that the logits belong to: the only one, or the one of the last phase. */
function batchOf(inputs: Tensors): Tensors {
  const prefix = ['', 'sparse/', 'batch.0/'].find((start) => inputs.has(`${start}input_ids`));
  if (prefix === undefined) return inputs;
  return new Map([...inputs].flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])));
}

/** Writing and reading again gives the same adapter in the same layout. */
async function assertRoundTrip(adapter: Adapter, { model }: Base): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-adapter-'));
  try {
    const { layout } = await writeAdapter(join(folder, 'copy'), adapter);
    assert.equal(layout, adapter.peft?.peft_type);
    const warnings: string[] = [];
    const { parameters, targets } = model;
    for (const base of [{}, { parameters, targets }]) {
      const again = await readAdapter(join(folder, 'copy'), { base, warn: (warning) => warnings.push(warning) });
      assert.equal(await contentDigest(again), adapter.digest);
    }
    assert.deepEqual(warnings, []);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The adapters of a case as files alone: reading, writing, attaching, merging. What training makes of them is apart. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { expected, path } = folder;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const inputs = batchOf(folder.inputs);
  const feeds = feedsOf(base, inputs);
  for (const name of adapterFolders(path)) {
    const results = resultsOf(name);
    if (!results) continue;
    const adapter = await openAdapter(base, join(path, name));
    await assertRoundTrip(adapter, base);
    const want = expected.get(results.logits);
    if (want) {
      const got = masked(await logitsOf(base, [adapter], feeds, backend), want, inputs.get('attention_mask'));
      if (results.exported) {
        const { close, message } = compare(got!, want, results.exported);
        if (!close) checks.problem(`${results.logits}: ${message}`);
      } else checks.tensor(results.logits, got);
    }
    const merged = [...expected.keys()].filter((key) => results.merged && key.startsWith(results.merged));
    for (const key of merged)
      checks.tensor(key, await mergedParameter(base, [adapter], key.slice(results.merged!.length)));
  }
  checks.leave(() => true);
  checks.done();
}
