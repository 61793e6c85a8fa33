import type { Adapter, Term } from '../../delta/delta.js';
import { scaleOf } from '../../delta/kinds/common.js';
import { vera } from '../../delta/kinds/vera.js';
import { Problems } from '../../errors.js';
import { scaled } from '../../tensor/convert.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { toFile } from '../common/config.js';
import { completeConfig, moduleOf, ownConfig, targetRules } from '../common/describe.js';
import { fullParameters } from '../common/full.js';
import { parameterKey, partKey } from '../common/keys.js';
import { sameNumbers } from '../common/same.js';
import type { LayoutFiles } from '../layout.js';
import { projectionKeys, veraFormat, veraParts } from './format.js';
import { narrowed, type Projections, veraProjections, widest } from './projections.js';

/**
 * An adapter as a VERA folder. Projections are left out where `saveProjection` was false and the key gives them again to
 * the bit. See `Layout.write`.
 */
export async function writeVera(adapter: Adapter): Promise<LayoutFiles> {
  const problems = new Problems();
  const modules = await gather(adapter, problems);
  problems.throwIfAny('DELTA_CONFLICT', 'The VERA layout cannot hold this adapter');

  const paths = [...modules.keys()];
  const terms = [...modules.values()];
  const shapes = new Map(paths.map((path) => [`${path}.weight`, adapter.delta.shape.get(`${path}.weight`)!]));
  const sides = [...shapes.values()].map((shape, i): readonly [number, number] => {
    const [rows, columns] = shape as [number, number];
    return terms[i]!.meta.transposed === true ? [columns, rows] : [rows, columns];
  });
  const { A, B } = terms[0]!.tensors as { A: TensorRef; B: TensorRef };
  const projections = await narrowed({ A, B }, widest(sides));

  const peft = ownConfig(adapter, 'VERA');
  const given = { ...peft, ...toFile((adapter.method?.config ?? {}) as Record<string, unknown>, veraFormat) };
  const { layers_to_transform, layers_pattern, target_modules } = targetRules(paths, peft);
  const key = typeof given.projection_prng_key === 'number' ? given.projection_prng_key : 0;
  const saved = given.save_projection !== false || !(await drawnFrom(key, projections));
  const config = completeConfig(adapter, 'VERA', {
    ...veraFormat.defaults,
    ...peft,
    ...fullParameters(adapter, paths, given, 'vera_only'),
    d_initial: given.d_initial ?? veraFormat.defaults.d_initial,
    fan_in_fan_out: terms.some(({ meta }) => meta.transposed === true),
    layers_pattern,
    layers_to_transform,
    projection_prng_key: key,
    r: A.shape[0]!,
    save_projection: saved,
    target_modules,
    vera_dropout: given.vera_dropout ?? 0,
  });

  const tensors = new Map<string, TensorRef>();
  for (const [path, term] of modules)
    for (const part of ['b', 'd'] as const) tensors.set(partKey(path, veraParts[part]), term.tensors[part]!);
  if (saved) for (const side of ['A', 'B'] as const) tensors.set(projectionKeys[side], projections[side]);
  for (const [path, ref] of adapter.replaced) tensors.set(parameterKey(path, modules.has(moduleOf(path))), ref);
  return { config, tensors, shapes };
}

/** One term of VeRA a module, unscaled, all with the same projections. */
async function gather({ delta }: Adapter, problems: Problems): Promise<ReadonlyMap<string, Term>> {
  const modules = new Map<string, Term>();
  let first: { readonly path: string; readonly term: Term } | undefined;
  for (const [path, terms] of delta.params) {
    const [term] = terms;
    if (terms.length !== 1 || term!.kind !== vera.kind || !path.endsWith('.weight')) {
      const kinds = terms.map(({ kind }) => kind).join(', ');
      problems.add(`"${path}" has updates of kind ${kinds}; the layout holds one of kind ${vera.kind} a weight.`);
      continue;
    }
    first ??= { path, term: term! };
    for (const side of ['A', 'B'] as const)
      if (!(await sameNumbers(term!.tensors[side]!, first.term.tensors[side]!)))
        problems.add(`"${path}" has another ${side} than "${first.path}"; in the layout all modules share one.`);
    modules.set(moduleOf(path), await unscaled(term!));
  }
  if (modules.size === 0 && problems.list.length === 0) problems.add('it changes no weight.');
  return modules;
}

/** The same update with its scale in b: the layout has no place for one. */
async function unscaled(term: Term): Promise<Term> {
  const s = scaleOf(term);
  if (s === 1) return term;
  const b = tensorRef(scaled(await term.tensors.b!.read(), s));
  return { ...term, tensors: { ...term.tensors, b }, meta: { ...term.meta, scale: 1 } };
}

async function drawnFrom(key: number, { A, B }: Projections<TensorRef>): Promise<boolean> {
  const own = veraProjections(key, { r: A.shape[0]!, in: A.shape[1]!, out: B.shape[0]! });
  return (await sameNumbers(A, tensorRef(own.A))) && (await sameNumbers(B, tensorRef(own.B)));
}
