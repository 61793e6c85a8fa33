import { notASum } from '../delta/additive.js';
import { applyDelta } from '../delta/apply.js';
import type { KindSite, Term } from '../delta/delta.js';
import { type Kinds, kindOf } from '../delta/registry.js';
import { PeftError } from '../errors.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { toF32 } from '../tensor/convert.js';
import { tensorRef } from '../tensor/refs.js';
import type { TensorRef } from '../tensor/tensor.js';
import { readerOf, rowsOf } from './branch.js';
import type { ModelGraph, Site } from './target.js';

/** The terms on one parameter of a module. */
export interface ParameterTerms {
  readonly terms: readonly Term[];
  readonly shape: readonly number[];
  /** Names its tensors in the graph. */
  readonly name: string;
}

/** A module with what changes it. */
export interface ChangedModule {
  readonly site: Site;
  readonly weight?: ParameterTerms;
  readonly bias?: ParameterTerms;
}

export interface AttachContext {
  readonly model: ModelGraph;
  readonly kinds: Kinds;
  readonly ops: Ops;
  /** On the whole adapter, set at run time. */
  readonly factor?: ShapedValue | undefined;
}

/** What leaves a changed module: y plus branches where all its terms are sums, else terms in their order. */
export async function changedOutput(module: ChangedModule, context: AttachContext): Promise<ShapedValue> {
  const { site, weight, bias } = module;
  const { ops, kinds, factor } = context;
  if (notASum([...(weight?.terms ?? []), ...(bias?.terms ?? [])], kinds)) return inOrder(module, context);
  const parts = weight ? await weightBranches(site, weight, context) : [];
  for (const [i, term] of (bias?.terms ?? []).entries())
    parts.push(ops.weight(`${bias!.name}:${i}`, denseRef(term, bias!.shape, kinds)));
  const branch = parts.reduce((sum, part) => ops.add(sum, part));
  return ops.add(site.y, factor ? ops.mul(branch, factor) : branch);
}

/** x ΔWᵀ of each term: [rows, out]. */
async function weightBranches(
  site: Site,
  { terms, shape, name }: ParameterTerms,
  context: AttachContext,
): Promise<ShapedValue[]> {
  const x = rowsOf(site, context.ops);
  const parts: ShapedValue[] = [];
  for (const [i, term] of (await joined(terms, shape, context.kinds)).entries())
    parts.push(
      await branchOf(kindSite(site, { term, shape, x, name: `${name}:${i}` }, context), `${name}:${i}`, context),
    );
  return parts;
}

/** x ΔWᵀ in the way of the term's kind, by its factors, or by all of ΔW. */
async function branchOf(at: KindSite, name: string, { kinds, ops }: AttachContext): Promise<ShapedValue> {
  const kind = kindOf(at.term, kinds);
  const own = await kind.attach?.(at, ops);
  if (own) return own;
  const slots = await kind.slots?.(at.term, at.shape);
  if (!slots) return product(at, ops.weight(name, denseRef(at.term, at.shape, kinds)), ops);
  const a = at.tensor('a', slots.a); // [in, r]
  const b = at.tensor('b', slots.b); // [r, out]
  return ops.gemm(at.ids ? ops.gather(a, at.x) : ops.gemm(at.x, a), b);
}

/** Terms one after the other, each on what those before it made of the module; the bias apart. */
async function inOrder({ site, weight, bias }: ChangedModule, context: AttachContext): Promise<ShapedValue> {
  const { ops, kinds } = context;
  const ref = biasOf(site, context);
  const own = ref && ops.weight(`${site.target.path}.bias`, ref);
  const after = bias ? changedBias(site, bias, context) : own;
  const rows = rowsOf(site, ops);
  const y = own ? ops.sub(site.y, own) : site.y;
  const through = async (x: ShapedValue, count: number): Promise<ShapedValue> => {
    if (count === 0) return x === rows ? y : product({ ...facts(site), x }, requireWeight(site, context), ops);
    const term = weight!.terms[count - 1]!;
    const name = `${weight!.name}:${count - 1}`;
    const at: KindSite = {
      ...kindSite(site, { term, shape: weight!.shape, x, name }, context),
      before: (input) => through(input, count - 1),
      ...(after && { bias: after }),
      weight: async () => toF32(await partWay(site, weight!, count - 1, context).read()),
    };
    const kind = kindOf(term, kinds);
    if (!kind.apply) return ops.add(await at.before(x), await branchOf(at, name, context));
    const changed = await kind.attach?.(at, ops);
    return changed ?? product(at, ops.weight(`${name}.weight`, partWay(site, weight!, count, context)), ops);
  };
  const z = await through(rows, weight?.terms.length ?? 0);
  return after ? ops.add(z, after) : z;
}

/** The bias as it is in this graph, where an adapter before may have replaced it. */
const biasOf = ({ target: { path, parameters } }: Site, { model }: AttachContext): TensorRef | undefined =>
  parameters.bias && (model.graph.weights.get(`${path}.bias`) ?? parameters.bias);

/** The bias with its terms in it; undefined where there is none before and none after. */
function changedBias(site: Site, bias: ParameterTerms, context: AttachContext): ShapedValue | undefined {
  const { ops, kinds } = context;
  const { target } = site;
  const ref = biasOf(site, context);
  if (!ref && !bias.terms.some(({ kind }) => kinds.get(kind)?.keepsZero !== true)) return undefined;
  const from = ref ?? tensorRef({ dtype: 'f32', shape: [target.out], data: new Float32Array(target.out) });
  return ops.weight(bias.name, changedRef(from, bias, kinds));
}

const facts = ({ target: { kind } }: Site) => ({
  ids: kind === 'embedding',
  transposed: kind === 'embedding' || kind === 'conv1d',
});

/** A site as an additive term sees it: what came before does not concern it. */
function kindSite(
  site: Site,
  { name, ...given }: Pick<KindSite, 'term' | 'shape' | 'x'> & { readonly name: string },
  { ops }: AttachContext,
): KindSite {
  const unknown = (): never => {
    throw new PeftError('INTERNAL', `The kind ${given.term.kind} is a sum and asks what it is added to.`);
  };
  const tensor: KindSite['tensor'] = (leaf, numbers) => ops.weight(`${name}.${leaf}`, tensorRef(numbers));
  return { ...facts(site), ...given, tensor, before: async () => unknown(), weight: async () => unknown() };
}

/** x Wᵀ. Tables and conv1d weights lie as (in, out), linear ones as (out, in). */
const product = (at: Pick<KindSite, 'x' | 'ids' | 'transposed'>, w: ShapedValue, ops: Ops): ShapedValue =>
  at.ids ? ops.gather(w, at.x) : ops.gemm(at.x, w, undefined, { transB: !at.transposed });

/** @throws PeftError DELTA_CONFLICT when another adapter is attached there already */
function requireWeight(site: Site, { model }: AttachContext): ShapedValue {
  const found = readerOf(model, site);
  if (found) return found.weight;
  throw new PeftError(
    'DELTA_CONFLICT',
    `Something is attached to "${site.target.path}" already, and this adapter changes its weight otherwise than by a sum, so their order counts. Attach this one first, or merge the other into the base.`,
  );
}

/** The site's weight with the first `count` terms in it. */
function partWay(site: Site, { terms, ...rest }: ParameterTerms, count: number, context: AttachContext): TensorRef {
  const base = context.model.graph.weights.get(requireWeight(site, context).name)!;
  return changedRef(base, { ...rest, terms: terms.slice(0, count) }, context.kinds);
}

function changedRef(base: TensorRef, { terms, shape }: ParameterTerms, kinds: Kinds): TensorRef {
  const delta = { shape: new Map([['', shape]]), params: new Map([['', terms]]) };
  return applyDelta(new Map([['', base]]), delta, { kinds }).get('')!;
}

/** Terms of one kind as one, where the kind can. Their order does not count: they are sums. */
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
