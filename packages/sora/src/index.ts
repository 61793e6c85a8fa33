import { adamw, defineMethod, definePlugin, loraFileNames, lowRank, sgd } from '@peftjs/core';
import { SoraConfig, type SoraSettings } from './config.js';
import * as math from './math.js';
import { gatesLeft, prunedTerm } from './prune.js';
import { openFactors, savedRank } from './saved.js';

export { SoraConfig, type SoraOptions, type SoraSettings } from './config.js';
export { type EffectiveRank, effectiveParameters, effectiveRanks } from './prune.js';

/** s stays that of the rank training began with: pruning must not change what is left. */
const scale = ({ alpha, r }: SoraSettings) => alpha / r;

const gradientStep = /* @__PURE__ */ sgd();
/** As in the released code's optimizer, eps enters before the correction of the second moment. */
const gateAdamw = /* @__PURE__ */ adamw({ eps: 1e-6, epsPlacement: 'before' });

/** Sparse low-rank adaptation (Ding et al. 2023): a gate on every direction of LoRA, drawn to exact zero while it trains. */
export const sora = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'sora',
  paper: 'https://arxiv.org/abs/2311.11696',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: SoraConfig,
  fileNames: loraFileNames,

  /** An adapter to train on has the ranks that its gates have left, and the scale it was trained with. */
  async plan({ sites, start }) {
    return new Map(
      sites.flatMap(({ target: { path } }) => {
        if (!start) return [[path, {}] as const];
        const term = start.delta.params.get(`${path}.weight`)?.[0];
        return term ? [[path, { c: savedRank(term) }] as const] : [];
      }),
    );
  },

  init: (target, c, rng) => ({
    train: {
      a: rng.fork('a').uniform([c.r, target.in], -1 / Math.sqrt(target.in), 1 / Math.sqrt(target.in)),
      b: { dtype: 'f32', shape: [target.out, c.r], data: new Float32Array(target.out * c.r) },
      g: rng.fork('g').normal([c.r]),
    },
  }),

  delta: ({ p, c }, ops) => math.delta(p.a!, p.b!, p.g!, scale(c), ops),
  apply: ({ x, p, c }, ops) => math.apply(x, p.a!, p.b!, p.g!, scale(c), ops),
  toDelta: ({ p, target, c }) => prunedTerm(p, { scale: scale(c), transposed: target.kind === 'conv1d' }),

  /** Gates are folded into A when an adapter is saved: they begin at one again. */
  fromKinds: [lowRank.kind],
  fromDelta: ({ terms, c }) => openFactors(terms.weight!, scale(c)),

  size: (target, c) => c.r * (target.in + target.out + 1),

  /** Gates never decay: the threshold is their regulariser. */
  rule({ name }, { gateRule, gateLr }) {
    if (name !== 'g') return {};
    if (gateRule === 'gradient') return { optimizer: gradientStep, absoluteLr: gateLr ?? 0.5, weightDecay: 0 };
    return { optimizer: gateAdamw, weightDecay: 0, ...(gateLr !== undefined && { absoluteLr: gateLr }) };
  },

  /** g ← T_{ηλ}(g - η ∂L/∂g): what stands here is the threshold after the step. */
  prox({ name, next, rate, c, s }, ops) {
    if (name !== 'g') return next;
    const lambda = s.lambda!;
    switch (c.threshold) {
      case 'paper':
        return math.softThreshold(next, ops.mul(rate, lambda), ops);
      case 'constant':
        return math.softThreshold(next, lambda, ops);
      case 'official':
        return math.officialThreshold(next, lambda, ops);
    }
  },

  scalars: ({ phase }, { lambda, schedule }) => ({
    lambda: schedule ? math.stageThreshold(schedule.shape, schedule.from, lambda, phase, schedule.stages) : lambda,
  }),

  penalty({ sites, c }, ops) {
    if (c.l1 === 0) return undefined;
    const count = sites.reduce((sum, site) => sum + site.c.r, 0);
    return ops.mul(
      math.l1Norm(
        sites.map(({ p }) => p.g!),
        ops,
      ),
      c.l1 / count,
    );
  },

  phases({ schedule }) {
    if (!schedule) return [{ name: 'train', share: 1 }];
    const { stages, first } = schedule;
    return Array.from({ length: stages }, (_, i) => ({
      name: `stage ${i + 1} of ${stages}`,
      share: i === 0 ? first : 1,
    }));
  },

  /** At the end of a stage: what is left of the adapter. */
  async onStep({ clock, sites, read }) {
    if (clock.phaseStep < clock.phaseTotal) return undefined;
    const gates = await read(sites.map(({ target }) => `${target.path}:g`));
    const { left, all, parameters } = gatesLeft(sites, gates);
    const remedy = left === 0 ? '; lower lambda, or there is nothing to save' : '';
    return { note: `${all - left} of ${all} gates are zero, ${parameters} parameters are left${remedy}` };
  },
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/sora', methods: [sora] });
