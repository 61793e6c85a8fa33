import {
  defineMethod,
  elementCount,
  type GraphSite,
  graphIndices,
  type Ops,
  type Params,
  type ShapedValue,
  type Target,
  zeros,
} from '@peftjs/core';
import { budgetOf } from '../budget.js';
import { indicesOf, patched, savedTerm } from '../coordinates.js';
import { adamwByAge } from './adamw-by-age.js';
import { SpielConfig, type SpielSettings } from './config.js';
import { distinct } from './draw.js';
import { gathered, nothingGathered, seen } from './gather.js';
import { grown } from './growth.js';
import { filled } from './resume.js';
import { sm3 } from './sm3.js';
import { opens } from './windows.js';

const shapeOf = ({ parameters }: Target): readonly [number, number] =>
  parameters.weight!.shape as readonly [number, number];
const sizeOf = (target: Target): number => elementCount(shapeOf(target));

/** After the plan a target's own number of coordinates is its `count`. */
const countOf = (target: Target, { count, density }: SpielSettings): number =>
  Math.min(count ?? Math.trunc(density * sizeOf(target)), sizeOf(target));

/**
 * Sparse fine-tuning with a fixed number of coordinates that move during training (Ansell et al. 2024). A target has
 * `weight` [k], the changes at the held `weight.indices` [k].
 */
export const spiel = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'spiel',
  paper: 'https://arxiv.org/abs/2401.16405',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: SpielConfig,

  /**
   * Shares the budget out in proportion to the targets' sizes, rounded down. Of an adapter to train on nothing is random,
   * so its first reselection is like the others.
   */
  async plan({ sites, start }) {
    const all = sites.reduce((sum, { target }) => sum + sizeOf(target), 0);
    const budget = budgetOf('spiel', sites[0]!.c, all);
    return new Map(
      sites.flatMap(({ target: { path }, target }) => {
        const count = Math.trunc((budget * sizeOf(target)) / all);
        return count > 0 ? [[path, { c: { count, ...(start && { replaceFirst: false }) } }]] : [];
      }),
    );
  },

  init(target, c, rng) {
    const indices = graphIndices(distinct(rng, countOf(target, c), sizeOf(target)));
    return {
      train: { weight: zeros([countOf(target, c)]) },
      held: { [indicesOf('weight')]: indices, ...(c.criterion === 'ag' && nothingGathered(indices)) },
    };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? patched(W, p[indicesOf(name)]!, p[name]!, ops) : W),

  toDelta: ({ p, target }) => ({ weight: savedTerm(p, 'weight', shapeOf(target)) }),

  fromKinds: ['sparse'],
  fromDelta: ({ terms, target, c }) => filled(terms.weight!, countOf(target, c)),

  size: countOf,

  rule({ target, name }, c) {
    if (name !== 'weight' || target.kind === 'vector') return {}; // a parameter trained in full
    const [rows, columns] = shapeOf(target);
    if (c.criterion === 'ma')
      return { optimizer: sm3({ rows, columns, indices: indicesOf(name), eps: c.eps ?? 1e-8 }) };
    return { optimizer: adamwByAge({ betas: c.betas, eps: c.eps ?? 1e-6 }) };
  },

  scalars: (clock, c) => ({ choose: opens(clock, c) ? 1 : 0 }),

  observe: { values: ({ p, s, dW, c }, ops) => (c.criterion === 'ag' ? observed(p, s.choose!, dW, ops) : {}) },

  onStep: grown,
});

/**
 * The k largest gradients of a weight, and those at the k candidates.
 * @param choose 1 where candidates are chosen; at 0 none are looked for
 */
function observed(
  p: GraphSite<SpielSettings>['p'],
  choose: ShapedValue,
  dW: ShapedValue,
  ops: Ops,
): Params<ShapedValue> {
  const flat = ops.reshape(dW, [elementCount(dW.shape.map(Number))]);
  const k = ops.reshape(ops.cast(ops.mul(choose, elementCount(p.weight!.shape.map(Number))), 'i64'), [1]);
  const outputs = [
    { dtype: 'f32', shape: ['chosen'] },
    { dtype: 'i64', shape: ['chosen'] },
  ] as const;
  const [, top] = ops.node('TopK', [ops.abs(flat), k], outputs, { axis: { type: 'int', value: 0 } });
  return {
    [seen.top]: top!,
    [seen.topGradients]: ops.gather(flat, top!),
    [seen.gradients]: ops.gather(flat, p[gathered.candidates]!),
  };
}
