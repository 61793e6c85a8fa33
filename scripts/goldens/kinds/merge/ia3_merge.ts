import { join } from 'node:path';
import { type Adapter, isPeftError, mean, readAdapter } from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import { type CaseFolder, readTensors } from '../../case.js';
import type { MergeRecord } from '../../merging.js';

/** What the vectors are at when nothing is known of their base: the other side of a weight does not matter to them. */
async function open(folder: string): Promise<Adapter> {
  const parameters = new Map<string, { readonly shape: readonly number[] }>();
  for (const [name, { shape }] of await readTensors(folder, 'adapter_model.safetensors')) {
    const module = /^base_model\.model\.(.+)\.ia3_l$/.exec(name)![1]!;
    parameters.set(`${module}.weight`, { shape: shape.map(() => Math.max(...shape)) });
  }
  return readAdapter(folder, { base: { parameters }, warn: () => {} });
}

/** The weighted mean of vectors; weights that do not add up to 1 would scale every activation. */
export async function run({ root, path, record: raw }: CaseFolder): Promise<void> {
  const record = raw as unknown as MergeRecord;
  const weights = record.parameters.weights as readonly number[];
  const adapters = await Promise.all(
    (record.inputs.adapters as readonly string[]).map((name) => open(join(root, name))),
  );
  const merging = mean(adapters.map(({ delta }, i) => ({ delta, weight: weights[i]! })));
  if (record.expect === 'refusal') {
    const refused = await merging.then(() => false, isPeftError);
    if (!refused) throw new Error(`was not refused: ${record.values?.why}`);
    return;
  }
  const { params } = await merging;
  for (const [name, want] of await readTensors(path, 'expected.safetensors')) {
    const [term] = params.get(`${name.slice(0, -'.ia3_l'.length)}.weight`) ?? [];
    if (!term) throw new Error(`"${name}" was not computed`);
    const got = { ...(await term.tensors.vector!.read()), shape: want.shape };
    const { atol, rtol } = record.tolerance!;
    const { close, message } = compare(got, want, { absolute: atol, relative: rtol });
    if (!close) throw new Error(`${name}: ${message}`);
  }
}
