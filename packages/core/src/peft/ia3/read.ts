import type { Term } from '../../delta/delta.js';
import { scalingTerm } from '../../delta/kinds/scaling.js';
import { Problems } from '../../errors.js';
import { readConfig, toCode } from '../common/config.js';
import { sortTensors } from '../common/keys.js';
import { checkTargets, liesInOut, weightShapes } from '../common/modules.js';
import { readReplaced } from '../common/replaced.js';
import { reshaped } from '../common/reshape.js';
import type { LayoutInput, LayoutOutput } from '../layout.js';
import { ia3Format, ia3Parts, isFeedforward } from './format.js';

/** Reads an IA3 folder. See `Layout.read`. */
export async function readIa3(input: LayoutInput): Promise<LayoutOutput> {
  const { subject } = input;
  const file = readConfig(input, ia3Format);
  const { modules, parameters } = sortTensors(input, ia3Parts, (_, ref, name, { unsupported }) => {
    if (ref.shape.length > 2)
      unsupported.add(`"${name}" [${ref.shape}] belongs to a convolution, which has no (IA)³ here.`);
  });
  const problems = new Problems();
  if (modules.size === 0) problems.add('it has no tensors of (IA)³.');
  checkTargets(file, modules, input, problems);
  const replaced = readReplaced(file, parameters, modules, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);

  const fed = file.feedforward_modules == null ? undefined : isFeedforward(file.feedforward_modules);
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [module, extents] of await weightShapes(modules.keys(), input)) {
    const vector = modules.get(module)!.vector!;
    const side = (fed?.(module) ?? vector.shape[0] === 1) ? 'input' : 'output';
    const transposed = liesInOut(module, extents, { side, length: Math.max(...vector.shape) }, file, input);
    const [out, inside] = transposed ? [extents[1], extents[0]] : extents;
    const wanted = side === 'input' ? [1, inside] : [out, 1];
    if (vector.shape.join() !== wanted.join()) {
      problems.add(`the vector of "${module}" is [${vector.shape}], needed is [${wanted}]: it multiplies ${side}s.`);
      continue;
    }
    const l = reshaped(vector, [Math.max(...wanted)]);
    shape.set(`${module}.weight`, extents);
    params.set(`${module}.weight`, [scalingTerm(l, { side, transposed })]);
    if (side === 'input') continue;
    shape.set(`${module}.bias`, [out]);
    params.set(`${module}.bias`, [scalingTerm(l, { side })]);
  }
  problems.throwIfAny('ADAPTER_INVALID', subject);
  return { delta: { shape, params }, replaced, method: { name: 'ia3', config: toCode(file, ia3Format) } };
}
