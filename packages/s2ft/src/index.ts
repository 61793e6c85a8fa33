import {
  block,
  blockTerm,
  defineMethod,
  definePlugin,
  graphIndices,
  numbersOf,
  PeftError,
  placesOf,
  sparse,
  type Target,
  tensorRef,
  toF32,
  transposed as turned,
  zeros,
} from '@peftjs/core';
import { S2ftConfig, type S2ftSettings } from './config.js';
import { applyColumns, applyRows, delta } from './math.js';
import { planned } from './plan.js';
import { savedBlock } from './saved.js';
import { taken, unitsOf } from './units.js';

export { S2ftConfig, type S2ftOptions, type S2ftSettings } from './config.js';

/** Rows or columns that the plan will give this target on average: what is known before it has chosen. */
const expected = (c: S2ftSettings, count: number, width: number): number =>
  c.channels ?? Math.round(c.ratio * count) * width;

/** Rows or columns of a target, whichever its role chooses among. */
const extentOf = (target: Target): number => (unitsOf(target)!.axis === 0 ? target.out : target.in);

/** Structured sparse fine-tuning: whole heads and channels, trained as dense blocks (Yang et al. 2024). */
export const s2ft = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 's2ft',
  paper: 'https://arxiv.org/abs/2412.06289',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: S2ftConfig,
  patterns: { ratio: 'ratioPattern' },

  check(target, c) {
    const units = taken(target, c);
    if (!units) return [];
    const problems: string[] = [];
    const extent = units.count * units.width;
    if (c.channels !== undefined && c.channels > extent)
      problems.push(`it has ${extent} ${units.axis === 0 ? 'rows' : 'columns'}, channels is ${c.channels}`);
    if (c.channels !== undefined && c.channels % units.width !== 0)
      problems.push(`its heads are ${units.width} wide, channels is ${c.channels}: take whole heads`);
    if (c.select === 'activation' && units.axis === 0)
      problems.push(
        'activations score what a module reads, and its channels are what it writes: choose another select',
      );
    return problems;
  },

  plan: planned,

  init(target, _c, _rng, given) {
    const { indices } = given;
    if (!indices)
      throw new PeftError('CONFIG_INVALID', `s2ft: nothing has chosen channels of "${target.path}": plan it first.`);
    const { axis } = unitsOf(target)!;
    const k = indices.shape[0]!;
    const shape = axis === 0 ? [k, target.in] : [target.out, k];
    const place = placesOf(numbersOf(indices), extentOf(target));
    return { train: { v: zeros(shape) }, frozen: { indices, place } };
  },

  delta: ({ p, target }, ops) => delta(p.v!, p.place!, unitsOf(target)!.axis, ops),

  apply({ x, p, target }, ops) {
    const apply = unitsOf(target)!.axis === 0 ? applyRows : applyColumns;
    return apply(x, p.v!, p.indices!, p.place!, ops);
  },

  toDelta({ p, target }) {
    const { axis } = unitsOf(target)!;
    const transposed = target.kind === 'conv1d';
    const block = transposed ? turned(toF32(p.v!)) : p.v!;
    const along = (transposed ? 1 - axis : axis) as 0 | 1;
    const tensors = { indices: tensorRef(p.indices!), block: tensorRef(block) };
    return { weight: blockTerm(tensors, { axis: along, transposed }) };
  },

  fromKinds: [block.kind, sparse.kind],
  async fromDelta({ terms, target }) {
    const { indices, v } = await savedBlock(terms.weight!, target);
    return { v, indices: graphIndices(indices), place: placesOf(indices, extentOf(target)) };
  },

  size(target, c) {
    const units = taken(target, c);
    if (!units) return 0;
    const { axis, count, width } = units;
    return expected(c, count, width) * (axis === 0 ? target.in : target.out);
  },
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/s2ft', methods: [s2ft] });
