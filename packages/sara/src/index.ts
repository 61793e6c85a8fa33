import {
  defineMethod,
  definePlugin,
  elementCount,
  f32,
  graphIndices,
  indexRef,
  type Params,
  PeftError,
  sparse,
  sparseTerm,
  type Tensor,
  tensorRef,
  zeros,
} from '@peftjs/core';
import { SaraConfig } from './config.js';
import { patched, pull } from './math.js';
import { nextPhase, phasesOf } from './phases.js';
import { below, changes, savedNumbers, smallest } from './select.js';

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

  /** The numbers to train: those that do next to nothing, or those that an adapter to train on has changed. */
  async plan(look) {
    const planned = new Map<string, { c: { count: number; threshold: number }; tensors: Params<Tensor> }>();
    for (const { target, c } of look.sites) {
      const saved = look.start?.delta.params.get(`${target.path}.weight`)?.[0];
      if (look.start && !saved) continue;
      const theta = (await look.weight(`${target.path}.weight`)).data as Float32Array;
      const found = c.count === undefined ? undefined : smallest(theta, c.count);
      const threshold = found?.next ?? c.threshold;
      const indices = found?.indices ?? below(theta, c.threshold);
      const tensors = saved ? await savedNumbers(saved) : { indices: graphIndices(indices) };
      const count = tensors.indices.data.length;
      if (count > 0) planned.set(target.path, { c: { count, threshold }, tensors });
    }
    return planned;
  },

  init(target, _c, _rng, { indices, v }) {
    if (!indices)
      throw new PeftError('CONFIG_INVALID', `sara: nothing has chosen numbers of "${target.path}": plan it first.`);
    return { train: { v: v ?? zeros(indices.shape) }, frozen: { indices } };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? patched(W, p, ops) : W),

  toDelta({ p, target }) {
    const changed = changes(p);
    const indices = indexRef([...changed.keys()], elementCount(target.parameters.weight!.shape));
    return { weight: sparseTerm({ indices, values: tensorRef(f32([changed.size], [...changed.values()])) }) };
  },

  fromKinds: [sparse.kind],
  fromDelta: ({ terms }) => savedNumbers(terms.weight!),

  phases: phasesOf,
  next: nextPhase,
  penalty: ({ sites, c }, ops) => pull(sites, c, ops),
  scalars: ({ step }) => ({ turn: (step * goldenRatio) % 1 }),

  size: (_target, c) => c.count ?? 0,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/sara', methods: [sara] });
