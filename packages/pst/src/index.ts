import {
  defineMethod,
  definePlugin,
  lowRankTerm,
  maskTerm,
  packMask,
  type Target,
  tensorRef,
  transposed,
  zeros,
} from '@peftjs/core';
import { PstConfig } from './config.js';
import { keptAtEnd } from './kept.js';
import { mask, scores, updated } from './math.js';
import { sparsityAt } from './schedule.js';

export { PstConfig, type PstOptions, type PstSettings } from './config.js';

/** Rows and columns of the weight as it lies. */
const extents = ({ kind, in: inside, out }: Target): readonly [number, number] =>
  kind === 'conv1d' ? [inside, out] : [out, inside];

/** Parameter-efficient sparse training (Li et al. 2022): a mask and an update, both learned in few numbers. */
export const pst = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'pst',
  paper: 'https://arxiv.org/abs/2205.11005',
  layout: 'PEFTJS',
  additive: false,
  kinds: ['linear', 'conv1d'],
  config: PstConfig,

  check(target, { r, scoreRank }) {
    const least = Math.min(target.in, target.out);
    return Object.entries({ r, scoreRank })
      .filter(([, rank]) => rank > least)
      .map(([key, rank]) => `its weight is ${target.out} × ${target.in}, ${key} is ${rank}: take ${least} at most`);
  },

  init(target, c, rng) {
    const [rows, columns] = extents(target);
    return {
      train: {
        u: rng.fork('u').normal([rows, c.r], 0, c.init),
        v: zeros([c.r, columns]),
        a: rng.fork('a').normal([rows, c.scoreRank], 0, c.init),
        b: zeros([c.scoreRank, columns]),
        r: zeros([rows]),
        c: zeros([columns]),
      },
    };
  },

  weight({ W, name, p, c, s }, ops) {
    if (name !== 'weight') return W;
    const changed = updated(W, p.u!, p.v!, c.beta, ops);
    const score = scores(changed, { a: p.a!, b: p.b!, r: p.r!, c: p.c! }, c, ops);
    return ops.mul(changed, mask(score, s.sparsity!, ops));
  },

  scalars: (clock, c) => ({ sparsity: sparsityAt(clock, c) }),

  async toDelta({ p, target, c, weight }) {
    const W = await weight('weight');
    const conv = target.kind === 'conv1d';
    // As (out, in): U V, or its transpose Vᵀ Uᵀ.
    const [b, a] = conv ? [transposed(p.v as never), transposed(p.u as never)] : [p.u!, p.v!];
    const factors = { a: tensorRef(a), b: tensorRef(b) };
    return {
      weight: [lowRankTerm(factors, { scale: c.beta, transposed: conv }), maskTerm(packMask(keptAtEnd(W, p, c)))],
    };
  },

  size(target, c) {
    const [rows, columns] = extents(target);
    return (c.r + c.scoreRank + 1) * (rows + columns);
  },
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/pst', methods: [pst] });
