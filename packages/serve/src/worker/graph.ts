import {
  attachSlots,
  type Backend,
  type Feeds,
  type ModelGraph,
  type Program,
  type ShapedValue,
  type Tensor,
} from '@peftjs/core';
import { attachHeads } from './heads.js';
import type { Layout } from './protocol.js';
import type { SlotArrays } from './slot-arrays.js';

/** Names of a target's slot inputs, as `attachSlots` gives them. */
export const slotInputs = (path: string) => ({ a: `${path}:slots.a`, b: `${path}:slots.b` });

/** Gives a graph the slots of a layout; a layout without any leaves it as it is. */
export function withSlots(
  model: ModelGraph,
  layout: Layout,
  { adapters, rank }: { adapters: number; rank: number },
): ModelGraph {
  if (layout.targets.length + layout.heads.length === 0) return model;
  const { model: slotted } = attachSlots(model, { adapters, rank, sites: layout.targets });
  const slot = slotted.graph.inputs.find(({ name }) => name === 'adapter_slot');
  return attachHeads(slotted, layout.heads, adapters + 1, slot as ShapedValue);
}

/** The feeds that say which slot each row uses, and what lies in the slots. */
export const slotFeeds = (arrays: SlotArrays, rows: readonly number[]): Record<string, Tensor> => ({
  adapter_slot: { dtype: 'i64', shape: [rows.length], data: BigInt64Array.from(rows, BigInt) },
  ...arrays.feeds(),
});

/** A backend whose programs get further feeds at every run: those of `more` that the graph has inputs for. */
export const feeding = (backend: Backend, more: () => Feeds): Backend => ({
  ...backend,
  async compile(graph, options) {
    const inputs = new Set(graph.inputs.map(({ name }) => name));
    const program: Program = await backend.compile(graph, options);
    const wanted = (feeds: Feeds): Feeds =>
      Object.fromEntries(Object.entries(feeds).filter(([name]) => inputs.has(name)));
    return { ...program, run: (feeds, of) => program.run({ ...wanted(feeds), ...wanted(more()) }, of) };
  },
});
