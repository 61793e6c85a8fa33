import type { Trainable } from '../adapter/trainables.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, rateName, scalarName } from './groups.js';

/** One trainable with its gradient, in the graph that updates it. */
export interface Gradient {
  readonly trainable: Trainable;
  readonly g: ShapedValue;
  /** Number of its group. */
  readonly group: number;
}

export interface UpdateOptions {
  readonly groups: readonly Group[];
  /** Largest global norm of the gradient; larger ones are scaled down to it. */
  readonly maxGradNorm?: number;
  /** Updates may leave targets out: an input `activeName(path)` bool [] for each says whether it takes part. */
  readonly selective?: boolean;
}

/** What an update graph keeps between runs. */
export interface Carried {
  /** Output name -> input name of the next run. */
  readonly carry: Record<string, string>;
  /** The optimizer's state before the first update, by input name. */
  readonly state: Map<string, Tensor>;
}

/** Output of the global gradient norm before clipping. */
export const gradNormName = 'grad_norm';
export const nextName = (name: string): string => `next.${name}`;
export const activeName = (path: string): string => `${path}:active`;
export const stateName = (parameter: string, letter: string): string => `${parameter}:${letter}`;

/** √(Σ g²) over all tensors together: []. */
function globalNorm(gradients: readonly ShapedValue[], ops: Ops): ShapedValue {
  const squares = gradients.map((g) =>
    ops.sum(
      ops.mul(g, g),
      g.shape.map((_, axis) => axis),
      { keepdims: false },
    ),
  );
  return ops.sqrt(squares.reduce((a, b) => ops.add(a, b)));
}

/** Scales all gradients by min(1, max / (norm + 1e-6)), as torch does, and declares the norm as an output. */
export function clipByGlobalNorm(gradients: readonly ShapedValue[], max: number, ops: Ops): ShapedValue[] {
  const norm = ops.output(globalNorm(gradients, ops), gradNormName);
  const scale = ops.min(ops.mul(ops.reciprocal(ops.add(norm, 1e-6)), max), 1);
  return gradients.map((g) => ops.mul(g, scale));
}

/**
 * Appends clipping, preconditioning, the optimizer and what the method does after it. Every parameter and state tensor
 * gets an output `next.<name>` to be carried into the input of that name; rates and corrections are scalar inputs
 * (`scalarFeeds`).
 */
export function appendUpdate(gradients: readonly Gradient[], options: UpdateOptions, ops: Ops): Carried {
  const { groups, maxGradNorm, selective = false } = options;
  const raw = gradients.map(({ g }) => g);
  const clipped = maxGradNorm === undefined ? raw : clipByGlobalNorm(raw, maxGradNorm, ops);
  const scalars = groups.map(({ lr, decay, optimizer }, i) =>
    Object.fromEntries(
      Object.keys(optimizer.scalars({ step: 1, rate: lr, decay })).map((name) => [
        name,
        ops.input(scalarName(i, name), 'f32', []),
      ]),
    ),
  );
  const input = once((name, dtype: 'f32' | 'bool') => ops.input(name, dtype, []));

  const carry: Record<string, string> = {};
  const state = new Map<string, Tensor>();
  gradients.forEach(({ trainable, group }, i) => {
    const { name, value, shape, path, beside } = trainable;
    const { optimizer } = groups[group]!;
    const start = Object.entries(optimizer.init(shape));
    const inputs = Object.fromEntries(
      start.map(([letter, tensor]) => {
        state.set(stateName(name, letter), tensor);
        return [letter, ops.input(stateName(name, letter), tensor.dtype, tensor.shape)];
      }),
    );
    const declare = (of: string, now: ShapedValue, next: ShapedValue) => {
      const kept = selective && path !== undefined ? ops.where(input(activeName(path), 'bool'), next, now) : next;
      carry[ops.output(kept, nextName(of)).name] = of;
    };
    const g = trainable.precondition?.(clipped[i]!, ops) ?? clipped[i]!;
    const site = { p: value, g, state: inputs, scalars: scalars[group]!, ...(beside && { beside }) };
    const next = optimizer.update(site, ops);
    declare(name, value, trainable.prox?.(next.p, input(rateName(group), 'f32'), ops) ?? next.p);
    for (const [letter] of start) declare(stateName(name, letter), inputs[letter]!, next.state[letter]!);
  });
  return { carry, state };
}

/** The same value for the same name. */
function once<A extends unknown[]>(make: (name: string, ...rest: A) => ShapedValue) {
  const made = new Map<string, ShapedValue>();
  return (name: string, ...rest: A): ShapedValue => {
    const value = made.get(name) ?? make(name, ...rest);
    made.set(name, value);
    return value;
  };
}
