import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Adapter,
  type Delta,
  denseTerm,
  Problems,
  readAdapter,
  type TensorRef,
  type Term,
  toF32,
} from '@peftjs/core';
import { openWeights } from '@peftjs/core/files';
import type { Plugins } from './plugins.js';
import { UsageError } from './usage.js';

/**
 * What a path holds as an update: an adapter's folder; a fine-tuned checkpoint, when its base is given; or a file whose
 * tensors are the update itself, under the paths of their parameters.
 */
export async function readUpdate(
  path: string,
  base: string | undefined,
  { layouts, kinds }: Plugins,
  warn: (message: string) => void,
): Promise<Adapter | Delta> {
  const isAdapter = existsSync(join(path, 'adapter_config.json'));
  if (isAdapter && base !== undefined)
    throw new UsageError(['--base: an adapter is an update by itself; leave the base out']);
  if (isAdapter) return readAdapter(path, { layouts, kinds, warn });
  const { tensors } = await openWeights(path);
  return deltaOf(base === undefined ? tensors : differences(tensors, (await openWeights(base)).tensors));
}

function deltaOf(tensors: ReadonlyMap<string, TensorRef>): Delta {
  const params = new Map<string, readonly Term[]>();
  for (const [name, ref] of tensors) params.set(name, [denseTerm(ref)]);
  return { shape: new Map([...tensors].map(([name, { shape }]) => [name, shape])), params };
}

/** Tuned minus base, read when it is asked for. Tensors must be the same ones, of the same shapes. */
function differences(
  tuned: ReadonlyMap<string, TensorRef>,
  base: ReadonlyMap<string, TensorRef>,
): Map<string, TensorRef> {
  const problems = new Problems();
  const out = new Map<string, TensorRef>();
  for (const name of base.keys()) if (!tuned.has(name)) problems.add(`"${name}" is only in the base.`);
  for (const [name, ref] of tuned) {
    const own = base.get(name);
    if (!own) problems.add(`"${name}" is not in the base.`);
    else if (`${own.shape}` !== `${ref.shape}`)
      problems.add(`"${name}" is [${ref.shape}], in the base [${own.shape}].`);
    else out.set(name, difference(ref, own));
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The checkpoint does not belong to this base');
  return out;
}

const difference = (tuned: TensorRef, base: TensorRef): TensorRef => ({
  dtype: 'f32',
  shape: tuned.shape,
  async read(range) {
    const [w, w0] = await Promise.all([tuned.read(range), base.read(range)]);
    const start = toF32(w0).data;
    return { dtype: 'f32', shape: w.shape, data: toF32(w).data.map((value, i) => value - start[i]!) };
  },
});
