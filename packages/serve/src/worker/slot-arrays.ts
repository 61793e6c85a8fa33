import type { Target, Tensor } from '@peftjs/core';
import { headInputs } from './heads.js';
import type { Layout, SlotContent } from './protocol.js';

/** The contents of all slots, as the graph's inputs read them. Slot 0 is the base. */
export interface SlotArrays {
  /** Makes room for a larger layout; what is there stays. */
  grow(layout: Layout): void;
  /** Replaces what a slot holds; zeros where the adapter has nothing. */
  write(slot: number, content: SlotContent): void;
  feeds(): Record<string, Tensor>;
}

interface Block {
  readonly shape: readonly [slots: number, ...rest: number[]];
  readonly data: Float32Array;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

/** @param names input names of a target's factors */
export function createSlotArrays(
  targets: ReadonlyMap<string, Target>,
  { slots, rank }: { readonly slots: number; readonly rank: number },
  names: (path: string) => { readonly a: string; readonly b: string },
): SlotArrays {
  const blocks = new Map<string, Block>();

  /** A block of this shape, with the rows of the one that was there (heads grow by rows). */
  function reserve(name: string, shape: readonly [number, ...number[]]): void {
    const old = blocks.get(name);
    const [size, oldSize] = [sizeOf(shape.slice(1)), old ? sizeOf(old.shape.slice(1)) : 0];
    if (old && oldSize >= size) return;
    const data = new Float32Array(slots * size);
    for (let slot = 0; old && slot < slots; slot++)
      data.set(old.data.subarray(slot * oldSize, (slot + 1) * oldSize), slot * size);
    blocks.set(name, { shape, data });
  }

  return {
    grow({ targets: paths, heads }) {
      for (const path of paths) {
        const target = targets.get(path)!;
        reserve(names(path).a, [slots, target.in, rank]);
        reserve(names(path).b, [slots, rank, target.out]);
      }
      for (const { path, out } of heads) {
        reserve(headInputs(path).weight, [slots, out, targets.get(path)!.in]);
        reserve(headInputs(path).bias, [slots, out]);
      }
    },
    write(slot, { factors, heads }) {
      const values = new Map<string, Float32Array>();
      for (const { path, a, b } of factors) values.set(names(path).a, a).set(names(path).b, b);
      for (const { path, weight, bias } of heads) {
        values.set(headInputs(path).weight, weight);
        if (bias) values.set(headInputs(path).bias, bias);
      }
      for (const [name, { shape, data }] of blocks) {
        const size = sizeOf(shape.slice(1));
        const row = data.subarray(slot * size, (slot + 1) * size);
        row.fill(0);
        row.set(values.get(name) ?? []);
      }
    },
    feeds: () =>
      Object.fromEntries(
        [...blocks].map(([name, { shape, data }]) => [name, { dtype: 'f32', shape, data } satisfies Tensor]),
      ),
  };
}
