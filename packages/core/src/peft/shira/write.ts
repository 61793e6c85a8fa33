import type { Adapter, Entries } from '../../delta/delta.js';
import { Problems } from '../../errors.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { completeConfig, ownConfig, targetRules } from '../common/describe.js';
import { entriesOf, linearWeights, type MatrixTerms, padded } from '../common/entries.js';
import { fullModules } from '../common/full.js';
import { partKey } from '../common/keys.js';
import type { LayoutFiles, LayoutWriteOptions } from '../layout.js';
import { shiraFormat, shiraParts } from './format.js';

/**
 * An adapter as a SHIRA folder: PEFT wants r · (out + in) entries of every module, so r is the least that holds all, and
 * free places are filled with zeros. See `Layout.write`.
 */
export async function writeShira(adapter: Adapter, options: LayoutWriteOptions): Promise<LayoutFiles> {
  const problems = new Problems();
  const weights = linearWeights(adapter, options, problems);
  const held: (MatrixTerms & { readonly entries: Entries })[] = [];
  for (const weight of weights) {
    const entries = await entriesOf(weight.terms, weight.shape, options.kinds);
    if (typeof entries !== 'string') held.push({ ...weight, entries });
    else problems.add(`"${weight.module}.weight" has an update of kind ${entries}; the layout holds single entries.`);
  }
  const r = held.reduce(
    (most, { shape: [out, inside], entries }) => Math.max(most, Math.ceil(entries.values.length / (out + inside))),
    1,
  );
  for (const {
    module,
    shape: [out, inside],
  } of held)
    if (r * (out + inside) > out * inside)
      problems.add(
        `"${module}.weight" [${out},${inside}] has no room for ${r * (out + inside)} entries, which r ${r} asks for.`,
      );
  const given = ownConfig(adapter, 'SHIRA');
  const paths = held.map(({ module }) => module);
  const full = fullModules(adapter, new Set(paths), given, problems);
  problems.throwIfAny('DELTA_CONFLICT', 'The SHIRA layout cannot hold this adapter');

  const tensors = new Map<string, TensorRef>(full.tensors);
  const shapes = new Map<string, readonly number[]>();
  for (const { module, shape, entries } of held) {
    const { indices, values } = padded(entries, r * (shape[0] + shape[1]));
    tensors.set(partKey(module, shiraParts.indices), tensorRef(coordinates(indices, shape[1])));
    tensors.set(partKey(module, shiraParts.values), tensorRef(f32([values.length], values)));
    shapes.set(`${module}.weight`, shape);
  }
  const { target_modules } = targetRules(paths, given);
  const config = completeConfig(adapter, 'SHIRA', {
    ...shiraFormat.defaults,
    ...given,
    fan_in_fan_out: false,
    modules_to_save: full.modules,
    r,
    target_modules,
  });
  return { config, tensors, shapes };
}

/** Flat indices as i32 [2, k]: outputs, then inputs. */
function coordinates(indices: ArrayLike<number>, columns: number) {
  const count = indices.length;
  const data = new Int32Array(2 * count);
  for (let k = 0; k < count; k++) {
    data[k] = Math.floor(indices[k]! / columns);
    data[count + k] = indices[k]! % columns;
  }
  return { dtype: 'i32', shape: [2, count], data } as const;
}
