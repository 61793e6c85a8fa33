import { applyDelta } from '../delta/apply.js';
import type { Adapter, Term } from '../delta/delta.js';
import { sameExtents } from '../delta/kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from '../delta/registry.js';
import { PeftError, Problems } from '../errors.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { tensorRef } from '../tensor/refs.js';
import type { TensorRef } from '../tensor/tensor.js';
import { underOwnPaths } from './aliases.js';
import { addBranches, rowsOf } from './branch.js';
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
 * Puts an adapter beside a frozen base for inference: updates of targets as branches (in factors where their kind has
 * them, dense otherwise), so weights shared between modules stay as they are; other parameters and replacements in
 * place of the base's. Call it again for the next adapter, on the model that it returns.
 * @throws PeftError ADAPTER_MISMATCH listing everything that does not fit the model
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
  const branches = new Map<string, ShapedValue>();
  for (const [path, terms] of adapter.delta.params) {
    const scaled =
      typeof weight === 'number' && weight !== 1 ? terms.map((t) => kindOf(t, kinds).scale(t, weight)) : terms;
    const shape = adapter.delta.shape.get(path)!;
    const [module, leaf] = split(path);
    const site = model.sites.get(module);
    if (site && (leaf === 'weight' || leaf === 'bias')) {
      const make = leaf === 'weight' ? weightBranch : biasBranch;
      const added = await make({ site, terms: scaled, shape, name: `${name}:${path}`, kinds, ops });
      const branch = factor ? ops.mul(added, factor) : added;
      const before = branches.get(module);
      branches.set(module, before ? ops.add(before, branch) : branch);
    } else if (model.graph.weights.has(path)) {
      const merged = applyDelta(
        new Map([[path, model.graph.weights.get(path)!]]),
        { shape: new Map(), params: new Map([[path, scaled]]) },
        { kinds },
      );
      model.graph.weights.set(path, merged.get(path)!);
    }
  }
  return addBranches(model, branches, ops);
}

const targetsOf = ({ sites }: ModelGraph) => [...sites.values()].map(({ target }) => target);

const split = (path: string): [module: string, leaf: string] => {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, dot), path.slice(dot + 1)];
};

function freeName(model: ModelGraph): string {
  const taken = [...model.graph.values.keys()];
  for (let n = 0; ; n++) if (!taken.some((value) => value.startsWith(`adapter${n}:`))) return `adapter${n}`;
}

interface Branch {
  readonly site: Site;
  readonly terms: readonly Term[];
  readonly shape: readonly number[];
  readonly name: string;
  readonly kinds: Kinds;
  readonly ops: Ops;
}

/** Σ over the terms of x ΔWᵀ: [rows, out]. */
async function weightBranch({ site, terms, shape, name, kinds, ops }: Branch): Promise<ShapedValue> {
  const x = rowsOf(site, ops);
  const ids = site.target.kind === 'embedding';
  const parts: ShapedValue[] = [];
  for (const [i, term] of (await joined(terms, shape, kinds)).entries()) {
    const kind = kindOf(term, kinds);
    const slots = await kind.slots?.(term, shape);
    if (slots) {
      const a = ops.weight(`${name}:${i}.a`, tensorRef(slots.a)); // [in, r]
      const b = ops.weight(`${name}:${i}.b`, tensorRef(slots.b)); // [r, out]
      const h = ids ? ops.gather(a, x) : ops.gemm(x, a); // [rows, r]
      parts.push(ops.gemm(h, b));
      continue;
    }
    const w = ops.weight(`${name}:${i}`, denseRef(term, shape, kinds));
    // Embedding rows and conv1d weights lie as (in, out), linear ones as (out, in).
    if (ids) parts.push(ops.gather(w, x));
    else parts.push(ops.gemm(x, w, undefined, { transB: site.target.kind !== 'conv1d' }));
  }
  return parts.reduce((sum, part) => ops.add(sum, part));
}

async function biasBranch({ terms, shape, name, kinds, ops }: Branch): Promise<ShapedValue> {
  const parts = terms.map((term, i) => ops.weight(`${name}:${i}`, denseRef(term, shape, kinds)));
  return parts.reduce((sum, part) => ops.add(sum, part));
}

/** Terms of one kind as one, where the kind can. */
async function joined(terms: readonly Term[], shape: readonly number[], kinds: Kinds): Promise<readonly Term[]> {
  const out: Term[] = [];
  for (const kind of new Set(terms.map((term) => term.kind))) {
    const group = terms.filter((term) => term.kind === kind);
    const { add } = kindOf(group[0]!, kinds);
    if (group.length > 1 && add) out.push(await add(group, shape));
    else out.push(...group);
  }
  return out;
}

const denseRef = (term: Term, shape: readonly number[], kinds: Kinds): TensorRef => ({
  dtype: 'f32',
  shape,
  async read(range) {
    return tensorRef(await kindOf(term, kinds).dense(term, shape)).read(range);
  },
});

function checkFit(
  model: ModelGraph,
  adapter: Adapter,
  weight: number | 'input',
  kinds: Kinds,
  parameters: ReadonlyMap<string, TensorRef> | undefined,
): void {
  const problems = new Problems();
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
  for (const [path, terms] of adapter.delta.params) {
    const [module, leaf] = split(path);
    const target = model.sites.get(module)?.target;
    const own =
      shapeOf(path) ?? target?.parameters[leaf]?.shape ?? (target && leaf === 'bias' ? [target.out] : undefined);
    if (!own) problems.add(`it changes "${path}", which the model does not have.`);
    else
      for (const term of terms)
        for (const problem of kindOf(term, kinds).problems(term, own)) problems.add(`"${path}": ${problem}.`);
    if (weight === 'input' && !target && own)
      problems.add(`"${path}" is no target, so its weight cannot be set at run time.`);
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit this model');
}
