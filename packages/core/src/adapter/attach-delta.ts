import { requireAdditive } from '../delta/additive.js';
import { applyDelta, misfits } from '../delta/apply.js';
import type { Adapter, Term } from '../delta/delta.js';
import { sameExtents } from '../delta/kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from '../delta/registry.js';
import { PeftError, Problems } from '../errors.js';
import { createOps } from '../graph/ops.js';
import type { TensorRef } from '../tensor/tensor.js';
import { underOwnPaths } from './aliases.js';
import { type ChangedModule, changedOutput } from './attach-terms.js';
import { type Move, moveOutputs } from './branch.js';
import type { ModelGraph, Site } from './target.js';

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
 * @throws PeftError ADAPTER_MISMATCH listing everything that does not fit the model; DELTA_CONFLICT for a weight on what
 *   is not a sum, or where the order of this adapter and one before it counts
 */
export async function attachDelta<M extends ModelGraph>(
  model: M,
  given: Adapter,
  options: AttachDeltaOptions = {},
): Promise<M> {
  const adapter = underOwnPaths(given, targetsOf(model));
  const { weight = 1, kinds = builtinKinds, parameters } = options;
  const name = options.name ?? freeName(model);
  checkFit(model, adapter, weight, kinds, parameters);
  for (const [path, ref] of adapter.replaced) if (model.graph.weights.has(path)) model.graph.weights.set(path, ref);

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
  return moveOutputs(model, moves);
}

/** The modules of this form that the adapter changes, by path, and the terms on all other parameters. */
function modulesOf(
  { sites }: ModelGraph,
  { delta }: Adapter,
  { weight, name, kinds }: Required<Pick<AttachDeltaOptions, 'weight' | 'name' | 'kinds'>>,
) {
  const modules = new Map<string, ChangedModule>();
  const others = new Map<string, readonly Term[]>();
  const put = (site: Site, leaf: 'weight' | 'bias', terms: readonly Term[], shape: readonly number[]) => {
    const path = site.target.path;
    const own = modules.get(path);
    const all = [...(own?.[leaf]?.terms ?? []), ...terms];
    modules.set(path, { ...own, site, [leaf]: { terms: all, shape, name: `${name}:${path}.${leaf}` } });
  };
  for (const [path, given] of delta.params) {
    const terms =
      typeof weight === 'number' && weight !== 1 ? given.map((t) => kindOf(t, kinds).scale(t, weight)) : given;
    const [module, leaf] = split(path);
    const site = sites.get(module);
    if (!site || (leaf !== 'weight' && leaf !== 'bias')) {
      others.set(path, terms);
      continue;
    }
    put(site, leaf, terms, delta.shape.get(path)!);
    const shared = terms.filter((term) => kindOf(term, kinds).shared === true);
    if (shared.length > 0)
      for (const tied of sitesSharing(sites, site)) put(tied, leaf, shared, delta.shape.get(path)!);
  }
  return { modules, others };
}

const targetsOf = ({ sites }: ModelGraph) => [...sites.values()].map(({ target }) => target);

/** Other modules with the same weight. */
const sitesSharing = (sites: ModelGraph['sites'], { target }: Site): Site[] =>
  [...sites.values()].filter(
    (site) => site.target !== target && site.target.parameters.weight === target.parameters.weight,
  );

const split = (path: string): [module: string, leaf: string] => {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, dot), path.slice(dot + 1)];
};

function freeName(model: ModelGraph): string {
  const taken = [...model.graph.values.keys()];
  for (let n = 0; ; n++) if (!taken.some((value) => value.startsWith(`adapter${n}:`))) return `adapter${n}`;
}

function checkFit(
  model: ModelGraph,
  adapter: Adapter,
  weight: number | 'input',
  kinds: Kinds,
  parameters: ReadonlyMap<string, TensorRef> | undefined,
): void {
  const problems = new Problems();
  if (weight !== 1) requireAdditive(adapter.delta, kinds, 'This adapter cannot be weighted');
  if (weight !== 1 && adapter.replaced.size > 0)
    throw new PeftError(
      'DELTA_CONFLICT',
      `An adapter that replaces parameters in full cannot be weighted: ${[...adapter.replaced.keys()].join(', ')}.`,
    );
  const shapeOf = (path: string) => model.graph.weights.get(path)?.shape ?? parameters?.get(path)?.shape;
  for (const [path, ref] of adapter.replaced) {
    const own = shapeOf(path);
    if (!own) problems.add(`it replaces "${path}", which the model does not have.`);
    else if (!sameExtents(own, ref.shape))
      problems.add(`it replaces "${path}" by [${ref.shape}], the model's is [${own}].`);
  }
  for (const path of adapter.delta.params.keys()) {
    const [module, leaf] = split(path);
    const target = model.sites.get(module)?.target;
    const own =
      shapeOf(path) ?? target?.parameters[leaf]?.shape ?? (target && leaf === 'bias' ? [target.out] : undefined);
    if (!own) problems.add(`it changes "${path}", which the model does not have.`);
    else for (const problem of misfits(adapter.delta, path, own, kinds)) problems.add(`"${path}": ${problem}.`);
    if (weight === 'input' && !target && own)
      problems.add(`"${path}" is no target, so its weight cannot be set at run time.`);
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit this model');
}
