import { join } from 'node:path';
import { bindMethod, f32, readAdapter, startTensors, type Tensor, transposed } from '@peftjs/core';
import { s2ft } from '@peftjs/s2ft';
import { logitsOf, mergedParameter } from '../adapted.js';
import { type Base, feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { adapterOf, slopesAt, type Trained, trainedLogits, trainedOut } from '../trained.js';

/** Rows and columns in the order of the case's blocks, which is no particular one. */
type Selection = Readonly<Record<string, { readonly rows?: readonly number[]; readonly cols?: readonly number[] }>>;

interface S2ftRecord extends CaseRecord {
  readonly config: {
    readonly selection: Selection;
    readonly optimizer: TorchOptimizer & { readonly steps: number };
  };
}

const ascending = (indices: readonly number[]): number[] => [...indices].sort((a, b) => a - b);

const i64 = (values: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** The method on the base with the case's selection in place of its own. */
async function planned(base: Base, selection: Selection): Promise<Trained> {
  const { targets, parameters } = base.model;
  const bound = s2ft({
    targetModules: Object.keys(selection),
    roles: ['query', 'key', 'value', 'output', 'up', 'down'],
  });
  const plan = bindMethod(bound, { targets, parameters });
  const sites = plan.sites.map(({ target, c }) => {
    const { rows, cols } = selection[target.path]!;
    const indices = ascending(rows ?? cols!);
    return { target, c: { ...c, channels: indices.length }, given: { indices: i64(indices) } };
  });
  const settled = { ...plan, sites };
  return { base, bound, plan: settled, start: await startTensors(settled, { seed: 0, parameters }) };
}

/** A block with its rows or columns in the order of the case. */
function inOrder(block: Tensor, indices: readonly number[], along: 'rows' | 'cols'): Tensor {
  const sorted = ascending(indices);
  const byRow = along === 'rows' ? f32(block.shape, block.data as Float32Array) : turned(block);
  const [count, width] = byRow.shape as [number, number];
  const data = new Float32Array(count * width);
  indices.forEach((index, k) => {
    const from = sorted.indexOf(index) * width;
    data.set(byRow.data.subarray(from, from + width), k * width);
  });
  const ordered = f32([count, width], data);
  return along === 'rows' ? ordered : turned(ordered);
}

const turned = (matrix: Tensor) => transposed(f32(matrix.shape, matrix.data as Float32Array));

/** S²FT: gradients and updates of chosen rows and columns, merging, and the export that PEFT loads. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { selection, optimizer } = (folder.record as S2ftRecord).config;
  const { inputs, expected } = folder;
  const { backend } = context;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const trained = await planned(base, selection);
  const checks = createChecks(folder);
  const mask = inputs.get('attention_mask');
  const logits = (name: string, got: Tensor, like?: string) =>
    checks.tensor(name, masked(got, expected.get(name)!, mask), like);
  const blocks = (prefix: string, tensors: ReadonlyMap<string, Tensor>) => {
    for (const [path, { rows, cols }] of Object.entries(selection)) {
      const along = rows ? 'rows' : 'cols';
      checks.tensor(`${prefix}/${path}.${along}`, inOrder(tensors.get(`${path}:v`)!, (rows ?? cols)!, along));
    }
  };

  logits('logits/base', await logitsOf(base, [], feeds, backend));
  logits('logits/start', await trainedLogits(trained, trained.start.train, feeds, backend));
  const first = await slopesAt(trained, trained.start.train, feeds, backend);
  checks.tensor('loss/start', f32([], [first.loss]));
  blocks('grad', first.gradients);

  const { losses, end } = await trainedOut(trained, optimizer, feeds, backend);
  checks.tensor('loss/steps', f32([losses.length], losses));
  blocks('final', end);

  const adapter = await adapterOf(trained, end);
  logits('logits/end', await logitsOf(base, [adapter], feeds, backend));
  for (const name of expected.keys())
    if (name.startsWith('merged/'))
      checks.tensor(name, await mergedParameter(base, [adapter], name.slice('merged/'.length)));
  const { parameters, targets } = base.model;
  const shira = await readAdapter(join(folder.path, 'export_shira'), {
    base: { parameters, targets },
    warn: () => {},
  });
  logits('logits/export_shira_in_peft', await logitsOf(base, [shira], feeds, backend), 'logits/end');
  checks.done();
}
