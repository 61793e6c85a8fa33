import type { Adapter } from '../../delta/delta.js';
import { PeftError } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { LayoutFiles } from '../layout.js';
import { taskTypes } from '../names.js';
import { type NativeFile, nativeSchema, replacedKey, termKey } from './format.js';

/** An adapter as a PEFTJS folder. See `Layout.write`. */
export async function writeNative(adapter: Adapter): Promise<LayoutFiles> {
  const { delta, replaced } = adapter;
  const tensors = new Map<string, TensorRef>();
  const parameters = [...delta.params].sort(byPath).map(([path, terms]) => ({
    path,
    shape: [...delta.shape.get(path)!],
    terms: terms.map(({ kind, meta, tensors: refs }, i) => {
      for (const [name, ref] of Object.entries(refs)) tensors.set(termKey(path, i, name), ref);
      return { kind, meta: { ...meta }, tensors: Object.keys(refs) };
    }),
  }));
  for (const [path, ref] of replaced) tensors.set(replacedKey(path), ref);
  const file: NativeFile = {
    peft_type: 'PEFTJS',
    spec: 'v1',
    base_model_name_or_path: adapter.base?.name ?? null,
    task_type: (adapter.peft?.task_type as string | undefined) ?? taskTypes[adapter.task?.name ?? ''] ?? null,
    parameters,
    replaced: [...replaced.keys()].sort(),
  };
  const { error } = nativeSchema.safeParse(file);
  if (error) {
    const problems = error.issues.slice(0, 20).map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new PeftError('DELTA_CONFLICT', `The PEFTJS layout cannot hold this adapter: ${problems.join('; ')}.`, {
      details: { problems },
    });
  }
  return { config: new Map(Object.entries(file)), tensors };
}

const byPath = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0;
