import {
  defineMethod,
  definePlugin,
  elementCount,
  f32,
  floats,
  type Params,
  PeftError,
  type Target,
  type Tensor,
  zeros,
} from '@peftjs/core';
import { IntrinsicConfig } from './config.js';
import { readTerm, subspace } from './kind.js';
import { bytesOfSigns, change, pullBack } from './math.js';
import { requireOnePoint, savedSeed, savedTerm } from './saved.js';
import { extentsOf, frozenOf, seedOf, shapeOf, signsOf } from './source.js';
import { subspaceTerm } from './term.js';

export { IntrinsicConfig, type IntrinsicOptions, type IntrinsicSettings } from './config.js';
export { materialize } from './export.js';
export { subspace } from './kind.js';

type Sites = readonly { readonly target: Target }[];

/** D: how many numbers all targets have. */
const numbersOf = (sites: Sites): number => sites.reduce((sum, { target }) => sum + elementCount(shapeOf(target)), 0);

/** 1 / √D: columns of signs times this have length 1. */
const unitOf = (sites: Sites): number => Math.fround(1 / Math.sqrt(numbersOf(sites)));

/** λ / √D: the scale of the target (1 without one) on columns of length 1. */
const scaleOf = (p: Params<Tensor>): number => Number(p.unit!.data[0]) * Number(p.lambda?.data[0] ?? 1);

/** Training in a random subspace (Aghajanyan et al. 2020): all weights move by P d, and only d is trained. */
export const intrinsic = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'intrinsic',
  paper: 'https://arxiv.org/abs/2012.13255',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: IntrinsicConfig,

  /** Which targets keep their signs in memory: the first ones that fit. What is left of `cache` goes to the next. */
  async plan({ sites, start }) {
    if (start) await requireOnePoint(start, sites, unitOf(sites));
    let room = (sites[0]?.c.cache ?? 0) * 2 ** 20;
    return new Map(
      sites.map(({ target, c }) => {
        const bytes = bytesOfSigns(extentsOf(target, c));
        const cache = bytes <= room ? bytes / 2 ** 20 : 0;
        room -= cache * 2 ** 20;
        const tensors = start ? savedSeed(savedTerm(start, target), target) : {};
        return [target.path, { c: { cache }, tensors }] as const;
      }),
    );
  },

  init(target, c, rng, given) {
    const seed = given.seed ? seedOf(given.seed) : (BigInt(rng.key[1]) << 32n) | BigInt(rng.key[0]);
    return {
      train: { ...(c.structureAware && { lambda: f32([1], [1]) }) },
      frozen: frozenOf(seed, target, c),
    };
  },

  shared(sites, c) {
    const numbers = numbersOf(sites);
    if (c.dimension > numbers)
      throw new PeftError(
        'CONFIG_INVALID',
        `intrinsic: dimension is ${c.dimension}, the targets have ${numbers} numbers: a subspace is smaller than its space.`,
      );
    return {
      train: { d: zeros([c.dimension]) },
      frozen: { unit: f32([1], [unitOf(sites)]) },
    };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? ops.add(W, p.change!) : W),

  stream: {
    expand: ({ p, target, c }) => ({
      change: f32(shapeOf(target), change(signsOf(p, target, c), floats(p.d!), scaleOf(p))),
    }),
    pullBack({ p, d: { change: g }, target, c }) {
      const raw = pullBack(signsOf(p, target, c), floats(g!));
      const s = scaleOf(p);
      const slopes = {
        d: f32(
          [c.dimension],
          raw.map((x) => s * x),
        ),
      };
      if (!p.lambda) return slopes;
      // ⟨P d, g⟩ = ⟨d, Pᵀ g⟩
      const along = floats(p.d!).reduce((sum, x, j) => sum + x * raw[j]!, 0);
      return { ...slopes, lambda: f32([1], [Number(p.unit!.data[0]) * along]) };
    },
  },

  toDelta: ({ p, target }) => ({
    weight: subspaceTerm(p.d!, { seed: seedOf(p.seed!), scale: scaleOf(p), shape: shapeOf(target) }),
  }),

  fromKinds: [subspace.kind],
  async fromDelta({ terms, target, c, fresh }) {
    const { seed, d, scale } = await readTerm(terms.weight!, shapeOf(target));
    return {
      d,
      ...(c.structureAware && { lambda: f32([1], [scale / Number(fresh.unit!.data[0])]) }),
      ...(seedOf(fresh.seed!) !== seed && frozenOf(seed, target, c)),
    };
  },

  size: (_target, c) => (c.structureAware ? 1 : 0),
  sharedSize: (c) => c.dimension,
});

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/intrinsic',
  methods: [intrinsic],
  kinds: [subspace],
});
