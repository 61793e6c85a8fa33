import { requireAdditive } from '../delta/additive.js';
import { applyDelta, misfits } from '../delta/apply.js';
import type { Adapter, Term } from '../delta/delta.js';
import { sameExtents } from '../delta/kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from '../delta/registry.js';
import { together } from '../delta/together.js';
import { PeftError, Problems } from '../errors.js';
import { createOps } from '../graph/ops.js';
import type { TensorRef } from '../tensor/tensor.js';
import { underOwnPaths } from './aliases.js';
import { type ChangedModule, changedOutput } from './attach-terms.js';
import { type Move, moveOutputs, readerOf } from './branch.js';
import { setWeights } from './own-weights.js';
import { onAllSharing } from './shared-terms.js';
import type { ModelGraph } from './target.js';

export interface AttachDeltaOptions {
  /** A factor on the whole adapter, or 'input' for a graph input `${name}:weight` f32 [] that sets it at every run. */
  readonly weight?: number | 'input';
  /** Prefix of the adapter's tensors in the graph; the first free `adapter0`, `adapter1`, ... when not given. */
  readonly name?: string;
  readonly kinds?: Kinds;
  /** All parameters of the base: what the adapter changes may lie outside this form of the model, not outside these. */
  readonly parameters?: ReadonlyMap<string, TensorRef>;
}

/**
 * Puts an adapter beside a frozen base for inference: sums as branches of their targets (in the way of their kind, in
 * factors where it has them, dense otherwise), what is not a sum in place of what leaves the target; so weights shared
 * between modules stay as they are, but for kinds that change them for all. Other parameters and replacements stand in
 * place of the base's. Call it again for the next adapter, on the model that it returns.
 * @throws PeftError ADAPTER_MISMATCH listing everything that does not fit the model; CONFIG_INVALID for a weight that is no
 *   number; DELTA_CONFLICT for a weight on what is not a sum, for a parameter that this adapter replaces and one before it
 *   changes or replaces, and where their order counts otherwise
 */
export async function attachDelta<M extends ModelGraph>(
  model: M,
  given: Adapter,
  options: AttachDeltaOptions = {},
): Promise<M> {
  const targets = [...model.sites.values()].map(({ target }) => target);
  const named = underOwnPaths(given, targets);
  const { weight = 1, kinds = builtinKinds, parameters } = options;
  const name = options.name ?? freeName(model);
  checkFit(model, named, weight, kinds, parameters);
  const attached = [...(model.attached ?? []), named];
  const beside = together(attached).at(-1)!;
  requireUnchanged(model, beside);
  const adapter = onAllSharing(beside, targets, kinds);
  setWeights(model, adapter.replaced);

  const ops = createOps(model.graph);
  const factor = weight === 'input' ? ops.input(`${name}:weight`, 'f32', []) : undefined;
  const { modules, others } = modulesOf(model, adapter, { weight, name, kinds });
  const moves = new Map<string, Move>();
  for (const [path, module] of modules) {
    const from = model.graph.nodes.length;
    const to = await changedOutput(module, { model, kinds, ops, factor });
    moves.set(path, { to, nodes: model.graph.nodes.slice(from) });
  }
  for (const [path, terms] of others) {
    const base = model.graph.weights.get(path);
    if (!base) continue;
    const delta = { shape: new Map(), params: new Map([[path, terms]]) };
    model.graph.weights.set(path, applyDelta(new Map([[path, base]]), delta, { kinds }).get(path)!);
  }
  return { ...moveOutputs(model, moves), attached };
}

/** The modules of this form that the adapter changes, by path, and the terms on all other parameters. */
function modulesOf(
  { sites }: ModelGraph,
  { delta }: Adapter,
  { weight, name, kinds }: Required<Pick<AttachDeltaOptions, 'weight' | 'name' | 'kinds'>>,
) {
  const modules = new Map<string, ChangedModule>();
  const others = new Map<string, readonly Term[]>();
  for (const [path, given] of delta.params) {
    const terms =
      typeof weight === 'number' && weight !== 1 ? given.map((t) => kindOf(t, kinds).scale(t, weight)) : given;
    const [module, leaf] = split(path);
    const site = sites.get(module);
    if (!site || (leaf !== 'weight' && leaf !== 'bias')) {
      others.set(path, terms);
      continue;
    }
    const own = modules.get(module);
    const shape = delta.shape.get(path)!;
    modules.set(module, { ...own, site, [leaf]: { terms, shape, name: `${name}:${path}` } });
  }
  return { modules, others };
}

const split = (path: string): [module: string, leaf: string] => {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, dot), path.slice(dot + 1)];
};

function freeName(model: ModelGraph): string {
  const taken = [...model.graph.values.keys()];
  for (let n = 0; ; n++) if (!taken.some((value) => value.startsWith(`adapter${n}:`))) return `adapter${n}`;
}

/** @throws PeftError DELTA_CONFLICT for replacements of what lies under another adapter's branch */
function requireUnchanged(model: ModelGraph, { replaced }: Adapter): void {
  const problems = new Problems();
  for (const path of replaced.keys()) {
    const site = model.sites.get(split(path)[0]);
    const changed = model.attached?.some(({ delta }) => delta.params.has(path));
    if (changed && site && !readerOf(model, site))
      problems.add(`"${path}" is changed by an adapter before it, and replaced by this one: attach their sum.`);
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These adapters cannot be attached one after the other');
}

function checkFit(
  model: ModelGraph,
  adapter: Adapter,
  weight: number | 'input',
  kinds: Kinds,
  parameters: ReadonlyMap<string, TensorRef> | undefined,
): void {
  const problems = new Problems();
  if (typeof weight === 'number' && !Number.isFinite(weight))
    throw new PeftError('CONFIG_INVALID', `An adapter cannot be weighted by ${weight}.`);
  if (weight !== 1) requireAdditive(adapter.delta, kinds, 'This adapter cannot be weighted');
  if (weight !== 1 && adapter.replaced.size > 0)
    throw new PeftError(
      'DELTA_CONFLICT',
      `An adapter that replaces parameters in full cannot be weighted: ${[...adapter.replaced.keys()].join(', ')}.`,
    );
  const shapeOf = (path: string): readonly number[] | undefined => {
    const [module, leaf] = split(path);
    const own = model.graph.weights.get(path) ?? parameters?.get(path);
    return (own ?? model.sites.get(module)?.target.parameters[leaf])?.shape;
  };
  for (const [path, ref] of adapter.replaced) {
    const own = shapeOf(path);
    if (!own) problems.add(`it replaces "${path}", which the model does not have.`);
    else if (!sameExtents(own, ref.shape))
      problems.add(`it replaces "${path}" by [${ref.shape}], the model's is [${own}].`);
  }
  for (const path of adapter.delta.params.keys()) {
    const [module, leaf] = split(path);
    const target = model.sites.get(module)?.target;
    const own = shapeOf(path) ?? (target && leaf === 'bias' ? [target.out] : undefined);
    if (!own) problems.add(`it changes "${path}", which the model does not have.`);
    else for (const problem of misfits(adapter.delta, path, own, kinds)) problems.add(`"${path}": ${problem}.`);
    if (weight === 'input' && !target && own)
      problems.add(`"${path}" is no target, so its weight cannot be set at run time.`);
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit this model');
}
