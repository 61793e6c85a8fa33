import {
  defineMethod,
  definePlugin,
  elementCount,
  f32,
  indexRef,
  PeftError,
  sparseTerm,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { SaraConfig } from './config.js';
import { patched, pull } from './math.js';
import { nextPhase, phasesOf } from './phases.js';
import { below, changes, graphIndices, smallest } from './select.js';

export { SaraConfig, type SaraOptions, type SaraSettings } from './config.js';

/** Its multiples, cut to [0, 1), visit all matrices evenly. */
const goldenRatio = (Math.sqrt(5) - 1) / 2;

/** Progressive sparse low-rank adaptation (Hu et al. 2024): the numbers of a weight that do next to nothing are trained. */
export const sara = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'sara',
  paper: 'https://arxiv.org/abs/2409.06633',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: SaraConfig,
  patterns: { threshold: 'thresholdPattern' },

  check(target, c) {
    const n = elementCount(target.parameters.weight!.shape);
    return c.count !== undefined && c.count > n ? [`its weight has ${n} numbers, count is ${c.count}`] : [];
  },

  async plan(look) {
    const planned = new Map<string, { c: { count: number; threshold: number }; tensors: { indices: Tensor } }>();
    for (const { target, c } of look.sites) {
      const theta = (await look.weight(`${target.path}.weight`)).data as Float32Array;
      const found = c.count === undefined ? undefined : smallest(theta, c.count);
      const indices = found?.indices ?? below(theta, c.threshold);
      if (indices.length === 0) continue;
      planned.set(target.path, {
        c: { count: indices.length, threshold: found?.next ?? c.threshold },
        tensors: { indices: graphIndices(indices) },
      });
    }
    return planned;
  },

  init(target, _c, _rng, { indices }) {
    if (!indices)
      throw new PeftError('CONFIG_INVALID', `sara: nothing has chosen numbers of "${target.path}": plan it first.`);
    return { train: { v: f32(indices.shape, new Float32Array(indices.data.length)) }, frozen: { indices } };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? patched(W, p, ops) : W),

  toDelta({ p, target }) {
    const changed = changes(p);
    const indices = indexRef([...changed.keys()], elementCount(target.parameters.weight!.shape));
    return { weight: sparseTerm({ indices, values: tensorRef(f32([changed.size], [...changed.values()])) }) };
  },

  phases: phasesOf,
  next: nextPhase,
  penalty: ({ sites, c }, ops) => pull(sites, c, ops),
  scalars: ({ step }) => ({ turn: (step * goldenRatio) % 1 }),

  size: (_target, c) => c.count ?? 0,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/sara', methods: [sara] });
