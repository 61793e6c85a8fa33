import type { Term } from '../../delta/delta.js';
import { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { readConfig, toCode } from '../common/config.js';
import { readNumbers, sparseFrom } from '../common/entries.js';
import { sortTensors } from '../common/keys.js';
import { checkTargets, weightShapes } from '../common/modules.js';
import { readReplaced } from '../common/replaced.js';
import type { LayoutInput, LayoutOutput } from '../layout.js';
import { shiraFormat, shiraParts } from './format.js';

/** Reads a SHIRA folder. See `Layout.read`. */
export async function readShira(input: LayoutInput): Promise<LayoutOutput> {
  const { subject } = input;
  const file = readConfig(input, shiraFormat);
  const { modules, parameters } = sortTensors(input, shiraParts);
  const problems = new Problems();
  if (modules.size === 0) problems.add('it has no SHiRA tensors.');
  checkTargets(file, modules, input, problems);
  const replaced = readReplaced(file, parameters, modules, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);

  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [module, extents] of await weightShapes(modules.keys(), input)) {
    const made = await readModule(modules.get(module)!, extents, file.r);
    if (typeof made === 'string') problems.add(`"${module}": ${made}.`);
    else {
      shape.set(`${module}.weight`, extents);
      params.set(`${module}.weight`, [made]);
    }
  }
  problems.throwIfAny('ADAPTER_INVALID', subject);
  return { delta: { shape, params }, replaced, method: { name: 'shira', config: toCode(file, shiraFormat) } };
}

/** PEFT multiplies the rows of coordinates into one weight of r · (out + in) numbers. */
async function readModule(
  { indices, values }: Partial<Record<'indices' | 'values', TensorRef>>,
  [out, inside]: readonly [number, number],
  r: number,
): Promise<Term | string> {
  const count = r * (out + inside);
  if (!indices || !values) return `it has no ${indices ? 'shira_weight' : 'shira_indices'}`;
  if (values.shape.length !== 1 || values.shape[0] !== count)
    return `its shira_weight is [${values.shape}], needed is [${count}]: r ${r} times ${out} + ${inside}`;
  if (indices.shape.length !== 2 || indices.shape[0] !== 2 || indices.shape[1] !== count)
    return `its shira_indices are [${indices.shape}], needed is [2,${count}]`;
  const places = await readNumbers(indices);
  const flat = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const [row, column] = [places[k]!, places[count + k]!];
    if (!(row >= 0 && row < out && column >= 0 && column < inside))
      return `its place ${k} is (${row}, ${column}), outside [${out},${inside}]`;
    flat[k] = row * inside + column;
  }
  const made = await sparseFrom(flat, values, out * inside);
  return 'problem' in made ? made.problem : made.term;
}
