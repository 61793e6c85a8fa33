import {
  defineMethod,
  definePlugin,
  dense,
  elementCount,
  PeftError,
  Problems,
  sgd,
  sparse,
  type Tensor,
  zeros,
} from '@peftjs/core';
import { SparseMezoConfig } from './config.js';
import { changeTerm, decayed, masked, maskOf, thresholdOf, trainsNothing } from './math.js';

export { SparseMezoConfig, type SparseMezoOptions, type SparseMezoSettings } from './config.js';

/**
 * Sparse MeZO (Liu et al. 2024): full weights trained by losses alone, along random directions that move only the small
 * numbers of each weight. w is the weight as it starts, d its change.
 */
export const sparseMezo = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'sparse-mezo',
  paper: 'https://arxiv.org/abs/2402.15751',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: SparseMezoConfig,
  patterns: { sparsity: 'sparsityPattern' },

  /** Thresholds, once, from the weights that nothing has moved. */
  async plan(look) {
    const planned = new Map<string, { c: { threshold: number }; tensors: { w: Tensor } }>();
    const problems = new Problems();
    for (const { target, c } of look.sites) {
      const w = await look.weight(`${target.path}.weight`);
      const threshold = c.threshold ?? thresholdOf(w, c.sparsity);
      if (trainsNothing(w, threshold))
        problems.add(
          c.threshold === undefined
            ? `"${target.path}": sparsity ${c.sparsity} of its ${w.data.length} numbers is none: raise it.`
            : `"${target.path}": none of its numbers is within the threshold ${threshold}: raise it.`,
        );
      planned.set(target.path, { c: { threshold }, tensors: { w } });
    }
    problems.throwIfAny('CONFIG_INVALID', 'sparse-mezo');
    return planned;
  },

  init(target, _c, _rng, { w }) {
    if (!w)
      throw new PeftError(
        'CONFIG_INVALID',
        `sparse-mezo: nothing has read the weight of "${target.path}": plan it first.`,
      );
    return { train: { d: zeros(w.shape) }, frozen: { w } };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? ops.add(W, p.d!) : W),

  forward: {
    epsilon: ({ epsilon }) => epsilon,
    direction: ({ p, c, rng }) => masked(maskOf(p.w!, p.d!, c.threshold!), p.d!.shape, rng),
  },

  /** As in MeZO the estimate itself is the step; the run's decay would also move what the mask leaves out. */
  rule: () => ({ optimizer: sgd(), weightDecay: 0 }),

  precondition: ({ g, p, c }, ops) =>
    c.weightDecay === 0 ? g : decayed(g, { w: p.w!, d: p.d! }, { lambda: c.weightDecay, h: c.threshold! }, ops),

  toDelta: ({ p }) => ({ weight: changeTerm(p.d!) }),

  fromKinds: [dense.kind, sparse.kind],
  async fromDelta({ terms, target }) {
    const term = terms.weight!;
    const kind = term.kind === sparse.kind ? sparse : dense;
    return { d: await kind.dense(term, target.parameters.weight!.shape) };
  },

  size: (target) => elementCount(target.parameters.weight!.shape),
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/zeroth-order', methods: [sparseMezo] });
