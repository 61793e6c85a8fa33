import type { Adapter, Term } from '../../delta/delta.js';
import { factored } from '../../delta/factored.js';
import { sameExtents } from '../../delta/kinds/common.js';
import { lowRank } from '../../delta/kinds/low-rank.js';
import { builtinKinds, type Kinds, kindOf } from '../../delta/registry.js';
import { Problems } from '../../errors.js';
import { cloneGraph } from '../../graph/edit.js';
import type { Graph, Value } from '../../graph/graph.js';
import { cast, toF32 } from '../../tensor/convert.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { Tensor } from '../../tensor/tensor.js';
import { transposed } from '../../tensor/transpose.js';
import { type Addend, addBranch, createEditor, type Editor, settle } from './branch.js';
import { findOnnxSites, type OnnxSite } from './sites.js';

/**
 * A copy of an ONNX model with an adapter in it as constants: branches of float numbers beside its modules, so that
 * quantised and shared weights stay as they are.
 * @throws PeftError ADAPTER_MISMATCH listing everything that the model has no place for
 */
export async function attachOnnx(
  model: Graph,
  adapter: Adapter,
  options: { readonly kinds?: Kinds } = {},
): Promise<Graph> {
  const { kinds = builtinKinds } = options;
  const editor = createEditor(cloneGraph(model));
  const places = placesOf(model);
  const problems = new Problems();
  for (const [path, ref] of adapter.replaced) {
    const own = model.weights.get(path);
    if (own && sameExtents(own.shape, ref.shape)) editor.graph.weights.set(path, ref);
    else
      problems.add(
        `it replaces "${path}" [${ref.shape}], ${own ? `which is [${own.shape}]` : 'of which it has no weight'}.`,
      );
  }
  for (const [path, terms] of adapter.delta.params) {
    const dot = path.lastIndexOf('.');
    const [module, leaf] = [path.slice(0, dot), path.slice(dot + 1)];
    const sites = places.get(module) ?? [];
    const shape = adapter.delta.shape.get(path)!;
    const make = leaf === 'weight' ? weightAddend : leaf === 'bias' ? biasAddend : undefined;
    if (sites.length === 0 || !make) problems.add(`it changes "${path}", for which there is no place.`);
    for (const site of make ? sites : []) {
      const problem = mismatch(site, leaf, shape, terms);
      if (problem) problems.add(`"${path}": ${problem}.`);
      else addBranch(editor, site, await make!({ editor, site, terms, shape, kinds }));
    }
  }
  const known = [...places.keys()];
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit this ONNX model', { modules: known });
  return settle(editor);
}

/** Sites by module path. */
function placesOf(model: Graph): Map<string, OnnxSite[]> {
  const places = new Map<string, OnnxSite[]>();
  for (const site of findOnnxSites(model).sites) places.set(site.module, [...(places.get(site.module) ?? []), site]);
  return places;
}

/** Whether the update is as (in, out): the terms say it; an embedding's rows are its input. */
const liesInOut = (site: OnnxSite, terms: readonly Term[]): boolean =>
  site.kind === 'embedding' || terms.some(({ meta }) => meta.transposed === true);

function mismatch(site: OnnxSite, leaf: string, shape: readonly number[], terms: readonly Term[]): string | undefined {
  const { in: inside, out } = site;
  const own = leaf === 'bias' ? [out] : liesInOut(site, terms) ? [inside, out] : [out, inside];
  return sameExtents(own, shape) ? undefined : `it is [${shape}], the module takes [${own}]`;
}

interface Making {
  readonly editor: Editor;
  readonly site: OnnxSite;
  readonly terms: readonly Term[];
  readonly shape: readonly number[];
  readonly kinds: Kinds;
}

/** Numbers as a weight of the graph, in the dtype that the module computes in. */
const put = ({ editor, site }: Making, leaf: string, tensor: Tensor): Value =>
  editor.weight(`${site.module}.${leaf}`, tensorRef(cast(tensor, site.y.dtype)));

async function weightAddend(making: Making): Promise<Addend> {
  const { site, terms, shape, kinds } = making;
  const term = await factored(terms, shape, kinds);
  if (term) {
    const { a, b } = await lowRank.slots!(term, shape);
    return { a: put(making, 'lora_A', a), b: put(making, 'lora_B', b) };
  }
  const whole = await sumOf(terms, shape, kinds);
  return { whole: put(making, 'delta', liesInOut(site, terms) ? whole : transposed(whole)) };
}

async function biasAddend(making: Making): Promise<Addend> {
  const { site, terms, shape, kinds } = making;
  const { data } = await sumOf(terms, shape, kinds);
  return { bias: put(making, 'delta_bias', f32(site.columnsOut ? [site.out, 1] : [site.out], data)) };
}

async function sumOf(terms: readonly Term[], shape: readonly number[], kinds: Kinds): Promise<ReturnType<typeof f32>> {
  const parts = await Promise.all(terms.map(async (term) => toF32(await kindOf(term, kinds).dense(term, shape)).data));
  return f32(
    shape,
    parts.reduce((sum, part) => sum.map((x, i) => x + part[i]!)),
  );
}
