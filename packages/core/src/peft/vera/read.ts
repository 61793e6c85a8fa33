import type { Term } from '../../delta/delta.js';
import { sameExtents } from '../../delta/kinds/common.js';
import { veraTerm } from '../../delta/kinds/vera.js';
import { Problems } from '../../errors.js';
import { isFloat } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { readConfig, toCode } from '../common/config.js';
import { sortTensors } from '../common/keys.js';
import { checkTargets, liesInOut, weightShapes } from '../common/modules.js';
import { readReplaced } from '../common/replaced.js';
import type { LayoutInput, LayoutOutput } from '../layout.js';
import { projectionKeys, type VeraFile, veraFormat, veraParts } from './format.js';
import { type ProjectionShape, type Projections, veraProjections, widest } from './projections.js';

interface Module {
  readonly path: string;
  /** Of the weight, as it lies. */
  readonly extents: readonly [number, number];
  readonly transposed: boolean;
  readonly b: TensorRef;
  readonly d: TensorRef;
}

/** Reads a VERA folder. See `Layout.read`. */
export async function readVera(input: LayoutInput): Promise<LayoutOutput> {
  const { subject } = input;
  const file = readConfig(input, veraFormat);
  const tensors = new Map(input.tensors);
  for (const key of Object.values(projectionKeys)) tensors.delete(key);
  const { modules: parts, parameters } = sortTensors({ ...input, tensors }, veraParts);
  const problems = new Problems();
  if (parts.size === 0) problems.add('it has no tensors of VeRA.');
  checkTargets(file, parts, input, problems);
  const replaced = readReplaced(file, parameters, parts, input, problems);
  checkPresence(file, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);

  const modules: Module[] = [];
  for (const [path, extents] of await weightShapes(parts.keys(), input)) {
    const made = readModule(path, extents, parts.get(path)!, file, input);
    if (typeof made === 'string') problems.add(`"${path}": ${made}.`);
    else modules.push(made);
  }
  problems.throwIfAny('ADAPTER_INVALID', subject);
  const sides = modules.map(({ extents: [rows, columns], transposed }) =>
    transposed ? ([columns, rows] as const) : ([rows, columns] as const),
  );
  const projections = projectionsOf(file, { r: file.r, ...widest(sides) }, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);

  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const { path, extents, transposed, b, d } of modules) {
    shape.set(`${path}.weight`, extents);
    params.set(`${path}.weight`, [veraTerm({ ...projections, b, d }, { transposed })]);
  }
  return { delta: { shape, params }, replaced, method: { name: 'vera', config: toCode(file, veraFormat) } };
}

/** Projections are in the file when it says so, and only then. */
function checkPresence({ save_projection: saved }: VeraFile, { tensors }: LayoutInput, problems: Problems): void {
  for (const key of Object.values(projectionKeys)) {
    const ref = tensors.get(key);
    if (saved && !ref) problems.add(`its save_projection is true, but it has no tensor "${key}".`);
    else if (!saved && ref)
      problems.add(`it has the tensor "${key}", which PEFT leaves aside because its save_projection is false.`);
    else if (ref && !isFloat(ref.dtype)) problems.add(`the tensor "${key}" is ${ref.dtype}, not floating point.`);
  }
}

function readModule(
  path: string,
  extents: readonly [number, number],
  { b, d }: Partial<Record<'b' | 'd', TensorRef>>,
  file: VeraFile,
  input: LayoutInput,
): Module | string {
  if (!b || !d) return `it has no ${b ? 'vera_lambda_d' : 'vera_lambda_b'}`;
  if (!sameExtents(d.shape, [file.r])) return `its vera_lambda_d is [${d.shape}], needed is [${file.r}]: r`;
  const length = b.shape[0] ?? 0;
  const transposed = liesInOut(path, extents, { side: 'output', length }, file, input);
  const out = extents[transposed ? 1 : 0];
  if (!sameExtents(b.shape, [out])) return `its vera_lambda_b is [${b.shape}], needed is [${out}]: it scales outputs`;
  return { path, extents, transposed, b, d };
}

/** The file's, or those that its key stands for. */
function projectionsOf(
  file: VeraFile,
  shape: ProjectionShape,
  { tensors }: LayoutInput,
  problems: Problems,
): Projections<TensorRef> {
  if (!file.save_projection) {
    const { A, B } = veraProjections(file.projection_prng_key, shape);
    return { A: tensorRef(A), B: tensorRef(B) };
  }
  const wanted = { A: [shape.r, shape.in], B: [shape.out, shape.r] };
  const found = { A: tensors.get(projectionKeys.A)!, B: tensors.get(projectionKeys.B)! };
  for (const side of ['A', 'B'] as const)
    if (!sameExtents(found[side].shape, wanted[side]))
      problems.add(
        `the tensor "${projectionKeys[side]}" is [${found[side].shape}], needed is [${wanted[side]}]: r, and the most ${side === 'A' ? 'inputs' : 'outputs'} of its modules.`,
      );
  return found;
}
