import {
  defineMethod,
  denseTerm,
  f32,
  floats,
  type Params,
  PeftError,
  type Tensor,
  type TensorRef,
  type Term,
  tensorRef,
} from '@peftjs/core';
import { GaloreConfig } from './config.js';
import { projectedAdamw } from './optimizer.js';
import { projectorOf } from './projector.js';

/** Full weights with the optimizer's moments in a projection of the gradient (Zhao et al. 2024). */
export const galore = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'galore',
  paper: 'https://arxiv.org/abs/2403.03507',
  layout: 'PEFTJS',
  additive: true,
  adds: ({ save }) => save === 'change',
  kinds: ['linear', 'conv1d'],
  config: GaloreConfig,

  check(target, { r }) {
    const largest = Math.min(target.in, target.out);
    return r > largest ? [`its gradient has rank ${largest} at most, r is ${r}`] : [];
  },

  /** The weights to begin at, and the projections of the first batch's gradients. */
  async plan({ sites, weight, gradients }) {
    const planned = new Map<string, { tensors: { w: Tensor; p: Tensor } }>();
    for await (const slopes of gradients(1))
      for (const { target, c } of sites) {
        const gradient = slopes.get(target.path);
        if (!gradient) continue;
        const tensors = { w: await weight(`${target.path}.weight`), p: projectorOf(gradient, c.r) };
        planned.set(target.path, { tensors });
      }
    return planned;
  },

  init(target, _c, _rng, { w, p }) {
    if (!w || !p)
      throw new PeftError('CONFIG_INVALID', `galore: nothing has read the weight of "${target.path}": plan it first.`);
    return { train: { w }, held: { p } };
  },

  weight: ({ W, name, p }) => (name === 'weight' ? p.w! : W),

  async toDelta({ p, c, weight }): Promise<Params<Term>> {
    if (c.save === 'replaced') return {};
    const W = floats(await weight('weight'));
    const change = floats(p.w!).map((x, i) => x - W[i]!);
    return { weight: denseTerm(tensorRef(f32(p.w!.shape, change))) };
  },

  toReplaced: ({ p, c }): Params<TensorRef> => (c.save === 'replaced' ? { weight: tensorRef(p.w!) } : {}),

  size: (target) => target.in * target.out,

  rule({ name }, { r, scale, betas, eps }) {
    return name === 'w' ? { optimizer: projectedAdamw({ r, scale, betas, eps, projector: 'p' }) } : {};
  },

  observe: {
    at: ({ step, total }, { interval }) => step % interval === 0 && step < total,
    values: ({ dW }) => ({ g: dW }),
  },

  async onStep({ sites, observed }) {
    if (observed.size === 0) return undefined;
    const found = sites.map(
      ({ target: { path }, c }) => [`${path}:p`, projectorOf(observed.get(`${path}:g`)!, c.r)] as const,
    );
    return { set: new Map(found), note: `new projections of ${found.length} gradients` };
  },
});
