import { join } from 'node:path';
import { type Adapter, attachSlots, elementCount, type SlotValue, slotValues, type Tensor, tensor } from '@peftjs/core';
import { logitsOf, mergedParameter, openAdapter } from '../adapted.js';
import { type Base, feedsOf, masked, only, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { createChecks } from '../checks.js';

interface MultiRecord extends CaseRecord {
  readonly adapters: Readonly<Record<string, { readonly r: number }>>;
  readonly active_together: readonly string[];
  readonly mixed_rows: readonly string[];
  readonly mixed_reversed_rows: readonly string[];
}

/** The same tensor of every slot, one after the other; slot 0 is the base: zeros. */
function stacked(values: readonly Tensor[]): Tensor {
  const { shape } = values[0]!;
  const size = elementCount(shape);
  const data = new Float32Array(size * (values.length + 1));
  for (const [i, value] of values.entries()) data.set(value.data as Float32Array, (i + 1) * size);
  return tensor('f32', [values.length + 1, ...shape], data);
}

/** One program in which every batch row names its adapter. */
async function openSlots(
  { model }: Base,
  adapters: ReadonlyMap<string, Adapter>,
  rank: number,
  { backend }: RunContext,
) {
  const sites = model.targets.filter(({ path }) =>
    [...adapters.values()].some(({ delta }) => delta.params.has(`${path}.weight`)),
  );
  const slots = { adapters: adapters.size, rank, sites: sites.map(({ path }) => path) };
  const { model: form, inputs } = attachSlots(model.graph('predict'), slots);
  const byPath = new Map(sites.map((target) => [target.path, target]));
  const contents: ReadonlyMap<string, SlotValue>[] = [];
  for (const adapter of adapters.values()) contents.push(await slotValues(adapter, byPath, { rank }));
  const tables = Object.fromEntries(
    [...inputs].flatMap(([path, names]) => [
      [names.a, stacked(contents.map((content) => content.get(path)!.a))],
      [names.b, stacked(contents.map((content) => content.get(path)!.b))],
    ]),
  );
  const logits = form.outputs.logits!.name;
  const program = await backend.compile(form.graph, { outputs: [logits] });
  const names = [...adapters.keys()];
  return {
    async run(feeds: Readonly<Record<string, Tensor>>, rows: readonly string[]) {
      const chosen = BigInt64Array.from(rows, (name) => BigInt(names.indexOf(name) + 1));
      const adapter_slot = tensor('i64', [rows.length], chosen);
      return (await program.run({ ...only({ ...feeds, adapter_slot }, form.graph.inputs), ...tables }))[logits]!;
    },
    dispose: () => program.dispose(),
  };
}

/** Adapters alone, two at once, merged together, and a batch whose rows use different ones. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const record = folder.record as MultiRecord;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const feeds = feedsOf(base, folder.inputs);
  const mask = folder.inputs.get('attention_mask');
  const adapters = new Map<string, Adapter>();
  for (const name of Object.keys(record.adapters)) {
    adapters.set(name, await openAdapter(base, join(folder.path, `adapter_${name}`)));
  }
  const check = (name: string, got: Tensor) => checks.tensor(name, masked(got, folder.expected.get(name)!, mask));
  const alone = (active: readonly Adapter[]) => logitsOf(base, active, feeds, context.backend);

  check('logits/base', await alone([]));
  for (const [name, adapter] of adapters) check(`logits/${name}`, await alone([adapter]));
  const together = record.active_together.map((name) => adapters.get(name)!);
  check('logits/both', await alone(together));
  for (const name of folder.expected.keys()) {
    if (name.startsWith('merged/'))
      checks.tensor(name, await mergedParameter(base, together, name.slice('merged/'.length)));
  }
  const rank = Math.max(...Object.values(record.adapters).map(({ r }) => r));
  const slots = await openSlots(base, adapters, rank, context);
  check('logits/mixed', await slots.run(feeds, record.mixed_rows));
  check('logits/mixed_reversed', await slots.run(feeds, record.mixed_reversed_rows));
  await slots.dispose();
  checks.done();
}
