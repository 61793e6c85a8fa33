import { type Adapter, type Delta, denseTerm, Problems, type TensorRef, type Term, toF32 } from '@peftjs/core';
import { openWeights } from '@peftjs/core/files';
import { isAdapter, type ReadingOptions, readAnyAdapter } from './any-adapter.js';
import { formatOf } from './formats.js';
import { UsageError } from './usage.js';

/**
 * What a path holds as an update: an adapter in any format; a fine-tuned checkpoint, when its base is given; or a file
 * whose tensors are the update itself, under the paths of their parameters.
 */
export async function readUpdate(
  path: string,
  options: ReadingOptions & { readonly baseIsForReading: boolean },
): Promise<Adapter> {
  const { base, plugins } = options;
  if (await isAdapter(path, plugins)) {
    if (base !== undefined && !options.baseIsForReading && (await formatOf(path, plugins.codecs)) === 'peft')
      throw new UsageError(['--base: an adapter is an update by itself; leave the base out, or add --calibrate']);
    return readAnyAdapter(path, options);
  }
  const { tensors } = await openWeights(path);
  const delta = deltaOf(base === undefined ? tensors : differences(tensors, (await openWeights(base)).tensors));
  return { delta, replaced: new Map(), digest: '' };
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
