import type { Adapter } from '../delta/delta.js';
import { builtinKinds, type Kinds, kindOf } from '../delta/registry.js';
import { PeftError } from '../errors.js';
import { divDim } from '../graph/dim.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { toF32 } from '../tensor/convert.js';
import { alloc } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { addBranches, siteOf } from './branch.js';
import { tensorName } from './names.js';
import type { ModelGraph, Site } from './target.js';

export interface SlotOptions {
  /** Adapters that can be resident at once; slot 0 is the base, so the inputs hold one more. */
  readonly adapters: number;
  /** Ranks up to this fit, padded with zeros. */
  readonly rank: number;
  /** Target paths that get slots. */
  readonly sites: readonly string[];
}

/** The inputs of one site: a f32 [slots, in, rank], b f32 [slots, rank, out]. */
export interface SlotInputs {
  readonly a: string;
  readonly b: string;
}

/**
 * Gives a graph room for adapters that are chosen per batch row: y += (x A[slot]) B[slot], gathered by `adapter_slot`
 * i64 [batch]. Slot 0 must hold zeros: it is the base. Scales are inside B.
 */
export function attachSlots<M extends ModelGraph>(
  model: M,
  options: SlotOptions,
): { readonly model: M; readonly inputs: ReadonlyMap<string, SlotInputs> } {
  const ops = createOps(model.graph);
  const slots = options.adapters + 1;
  const slot = ops.input('adapter_slot', 'i64', ['batch']);
  const inputs = new Map<string, SlotInputs>();
  const branches = new Map<string, ShapedValue>();
  for (const path of options.sites) {
    const site = siteOf(model, path);
    const { target } = site;
    const a = ops.input(tensorName(path, 'slots.a'), 'f32', [slots, target.in, options.rank]);
    const b = ops.input(tensorName(path, 'slots.b'), 'f32', [slots, options.rank, target.out]);
    inputs.set(path, { a: a.name, b: b.name });
    branches.set(
      path,
      ops.scope(path, () => slotBranch(site, a, b, slot, ops)),
    );
  }
  return { model: addBranches(model, branches, ops), inputs };
}

function slotBranch(site: Site, a: ShapedValue, b: ShapedValue, slot: ShapedValue, ops: Ops): ShapedValue {
  const { target } = site;
  const rows = site.y.shape[0]!;
  const each = divDim(rows, 'batch');
  if (each === undefined)
    throw new PeftError(
      'GRAPH_INVALID',
      `"${target.path}" has ${rows} rows, which do not belong to batch rows one by one.`,
    );
  const bs = ops.gather(b, slot); // [batch, rank, out]
  let h: ShapedValue; // [batch, each, rank]
  if (target.kind === 'embedding') {
    const ids = ops.reshape(site.x, ['batch', each]);
    const [slots, vocabulary, rank] = a.shape as readonly number[];
    const table = ops.reshape(a, [slots! * vocabulary!, rank!]);
    h = ops.gather(table, ops.add(ids, ops.mul(ops.unsqueeze(slot, [1]), vocabulary!)));
  } else {
    h = ops.matmul(ops.reshape(site.x, ['batch', each, target.in]), ops.gather(a, slot));
  }
  return ops.reshape(ops.matmul(h, bs), [rows, target.out]);
}

/** What a site's slot holds for one adapter: a [in, rank], b [rank, out], zeros where the adapter has nothing. */
export interface SlotValue {
  readonly a: Tensor;
  readonly b: Tensor;
}

/**
 * An adapter as the contents of one slot, by target path, padded to `rank`.
 * @throws PeftError DELTA_CONFLICT when the adapter does something that slots cannot hold (replacements, biases, kinds
 *   without factors, targets without slots, higher ranks)
 */
export async function slotValues(
  adapter: Adapter,
  sites: ReadonlyMap<string, { readonly in: number; readonly out: number }>,
  options: { readonly rank: number; readonly kinds?: Kinds },
): Promise<Map<string, SlotValue>> {
  const { rank, kinds = builtinKinds } = options;
  const refuse = (what: string): never => {
    throw new PeftError(
      'DELTA_CONFLICT',
      `An adapter slot cannot hold this adapter: ${what}. Serve it merged instead.`,
    );
  };
  if (adapter.replaced.size > 0) refuse(`it replaces ${[...adapter.replaced.keys()].join(', ')} in full`);
  const values = new Map<string, SlotValue>();
  for (const [path, target] of sites)
    values.set(path, { a: alloc('f32', [target.in, rank]), b: alloc('f32', [rank, target.out]) });
  for (const [path, terms] of adapter.delta.params) {
    const module = path.slice(0, path.lastIndexOf('.'));
    const value = values.get(module);
    if (!value || !path.endsWith('.weight')) return refuse(`it changes "${path}", which has no slot`);
    let used = 0;
    for (const term of terms) {
      const { slots } = kindOf(term, kinds);
      if (!slots) return refuse(`"${path}" has an update of kind ${term.kind}, which has no factors`);
      const part = await slots(term, adapter.delta.shape.get(path)!);
      if (used + part.rank > rank) return refuse(`"${path}" needs rank ${used + part.rank}, slots have ${rank}`);
      place(toF32(part.a).data, value.a, used, part.rank);
      (value.b.data as Float32Array).set(toF32(part.b).data, used * (value.b.shape[1] ?? 0));
      used += part.rank;
    }
  }
  return values;
}

/** Writes [in, r] into columns `at` to `at + r` of [in, rank]. */
function place(part: Float32Array, into: Tensor, at: number, r: number): void {
  const [rows, rank] = into.shape as readonly [number, number];
  for (let i = 0; i < rows; i++) (into.data as Float32Array).set(part.subarray(i * r, (i + 1) * r), i * rank + at);
}
