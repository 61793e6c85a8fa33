import {
  defineMethod,
  definePlugin,
  f32,
  floats,
  loraFileNames,
  type Params,
  PeftError,
  type Target,
  type Tensor,
  type Term,
} from '@peftjs/core';
import { materialized } from './bases.js';
import { problemsOf } from './check.js';
import { NolaConfig, type NolaSettings } from './config.js';
import { coefficientsOf, seededLowRank } from './kind.js';
import * as math from './math.js';
import {
  basesOf,
  bytesOfBases,
  type Extents,
  type Seed,
  seedOf,
  startOf,
  tensorOfSeed,
  trainingBases,
} from './source.js';
import { describe, seededTerm } from './term.js';

export { NolaConfig, type NolaOptions, type NolaSettings } from './config.js';
export { materialize } from './export.js';
export { seededLowRank } from './kind.js';

const scale = ({ alpha, r }: NolaSettings) => alpha / r;

const shapeOf = ({ kind, in: inside, out }: Target) => (kind === 'conv1d' ? [inside, out] : [out, inside]);

/** The seed of a saved update, so that a run that goes on from it makes its bases once. */
function savedSeed(term: Term | undefined, target: Target): Params<Tensor> {
  if (!term || problemsOf(term, shapeOf(target)).length > 0) return {};
  return { seed: tensorOfSeed(describe(term, shapeOf(target)).seed) };
}

/** What follows from the seed and stays: A₀, and the bases where there is room for them. */
function frozenOf(seed: Seed, c: NolaSettings, extents: Extents) {
  const a0 = startOf(seed, c, extents);
  const held = bytesOfBases(c, extents) <= c.cache * 2 ** 20 ? basesOf(seed, c, extents) : undefined;
  return {
    seed: tensorOfSeed(seed),
    ...(a0 && { a0: f32([c.r, extents.in], a0) }),
    ...(held && { basisA: materialized(held.a), basisB: materialized(held.b) }),
  };
}

/**
 * NOLA (Koohpayegani et al. 2023): the factors of LoRA as sums of random matrices that a seed gives, of which only the
 * coefficients are trained and saved.
 */
export const nola = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'nola',
  paper: 'https://arxiv.org/abs/2310.02556',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: NolaConfig,
  fileNames: loraFileNames,

  check: (target, { r }) =>
    r > Math.max(target.in, target.out)
      ? [`a rank of ${r} is more than its ${target.out} rows and ${target.in} columns`]
      : [],

  /** Which targets keep their bases in memory: the first ones that fit. What is left of `cache` goes to the next. */
  async plan({ sites, start }) {
    let room = (sites[0]?.c.cache ?? 0) * 2 ** 20;
    return new Map(
      sites.map(({ target, c }) => {
        const bytes = bytesOfBases(c, target);
        const cache = bytes <= room ? bytes / 2 ** 20 : 0;
        room -= cache * 2 ** 20;
        const tensors = savedSeed(start?.delta.params.get(`${target.path}.weight`)?.[0], target);
        return [target.path, { c: { cache }, tensors }] as const;
      }),
    );
  },

  /**
   * One factor must have a direction while the other is zero: with both at zero no coefficient ever gets a gradient.
   * NOTE: the paper has no A₀ and leaves the start of the coefficients open; here A then starts as wide as LoRA's.
   */
  init(target, c, rng, given) {
    const { bases: k, variant } = c;
    const seed = given.seed ? seedOf(given.seed) : (BigInt(rng.key[1]) << 32n) | BigInt(rng.key[0]);
    const constant = (value: number) => f32([k], new Float32Array(k).fill(value));
    const first = variant === 'vit' ? 1 / k : 0;
    const alpha = variant === 'paper' ? rng.fork('alpha').normal([k], 0, 1 / Math.sqrt(target.in)) : constant(first);
    return { train: { alpha, beta: constant(first) }, frozen: frozenOf(seed, c, target) };
  },

  delta: ({ p, c }, ops) => math.delta(p.a!, p.b!, scale(c), ops),
  apply: ({ x, p, c }, ops) => math.apply(x, p.a!, p.b!, scale(c), ops),

  stream: {
    expand({ p, target, c }) {
      const { a, b } = trainingBases(p, c, target);
      const A = math.combine(a, floats(p.alpha!), p.a0 && floats(p.a0));
      return { a: f32([c.r, target.in], A), b: f32([target.out, c.r], math.combine(b, floats(p.beta!))) };
    },
    pullBack({ p, d, target, c }) {
      const { a, b } = trainingBases(p, c, target);
      return {
        alpha: f32([c.bases], math.project(a, floats(d.a!))),
        beta: f32([c.bases], math.project(b, floats(d.b!))),
      };
    },
  },

  toDelta({ p, target, c }) {
    const layout = { ...c, seed: seedOf(p.seed!), scale: scale(c), transposed: target.kind === 'conv1d' };
    return { weight: seededTerm(p, layout, target) };
  },

  fromKinds: [seededLowRank.kind],
  async fromDelta({ terms, target, c, fresh }) {
    const found = await coefficientsOf(terms.weight!, shapeOf(target));
    const different = (['r', 'bases', 'variant'] as const).filter((key) => found[key] !== c[key]);
    if (different.length > 0 || found.scale !== scale(c))
      throw new PeftError(
        'ADAPTER_MISMATCH',
        `"${target.path}" was trained with r ${found.r}, ${found.bases} bases, variant ${found.variant} and scale ${found.scale}; here they are ${c.r}, ${c.bases}, ${c.variant} and ${scale(c)}.`,
      );
    const dead = found.variant !== 'language' && [...found.alpha, ...found.beta].every((x) => x === 0);
    if (dead)
      throw new PeftError(
        'ADAPTER_INVALID',
        `"${target.path}" has no A0 and only coefficients of zero: no gradient ever reaches them. Start it afresh.`,
      );
    const k = c.bases;
    const frozen = seedOf(fresh.seed!) === found.seed ? {} : frozenOf(found.seed, c, target);
    return { alpha: f32([k], found.alpha), beta: f32([k], found.beta), ...frozen };
  },

  size: (_, c) => 2 * c.bases,
});

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/nola',
  methods: [nola],
  kinds: [seededLowRank],
});
