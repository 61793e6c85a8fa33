import {
  defineMethod,
  definePlugin,
  denseTerm,
  elementCount,
  f32,
  type Params,
  PeftError,
  type Random,
  type Target,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { IntrinsicConfig, type IntrinsicSettings } from './config.js';
import { bytesOfSigns, heldSigns, project, pullBack, type Signs, seededSigns, signWords } from './math.js';

export { IntrinsicConfig, type IntrinsicOptions, type IntrinsicSettings } from './config.js';

const shapeOf = ({ parameters }: Target): readonly number[] => parameters.weight!.shape;
const floats = (tensor: Tensor) => tensor.data as Float32Array;

const extentsOf = (target: Target, { dimension }: IntrinsicSettings) => ({
  numbers: elementCount(shapeOf(target)),
  dimension,
});

/** The seed of a target's rows of P, as a tensor: what a run keeps of P. */
const seedTensor = ({ key: [low, high] }: Random): Tensor => ({
  dtype: 'i64',
  shape: [1],
  data: BigInt64Array.of(BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))),
});

const seedOf = (seed: Tensor): bigint => BigInt.asUintN(64, (seed.data as BigInt64Array)[0]!);

/** What follows from the seed and stays: the signs too, where there is room for them. */
function frozenOf(rng: Random, target: Target, c: IntrinsicSettings): Params<Tensor> {
  const seed = seedTensor(rng);
  const extents = extentsOf(target, c);
  if (bytesOfSigns(extents) > c.cache * 2 ** 20) return { seed };
  const words = signWords(seedOf(seed), extents);
  return { seed, signs: { dtype: 'i32', shape: [words.length], data: new Int32Array(words.buffer) } };
}

/** The signs of a target in training: those that are held, else from the seed. */
function signsOf({ seed, signs }: Params<Tensor>, target: Target, c: IntrinsicSettings): Signs {
  const extents = extentsOf(target, c);
  return signs
    ? heldSigns(new Uint32Array((signs.data as Int32Array).buffer), extents)
    : seededSigns(seedOf(seed!), extents);
}

/** λ / √D: the scale of the target (1 without one) on columns of length 1. */
const scaleOf = (p: Params<Tensor>): number => Number(p.unit!.data[0]) * Number(p.lambda?.data[0] ?? 1);

/** ΔW = λ P d / √D, in the weight's layout. */
function change(p: Params<Tensor>, target: Target, c: IntrinsicSettings): Tensor {
  const s = scaleOf(p);
  return f32(
    shapeOf(target),
    project(signsOf(p, target, c), floats(p.d!)).map((x) => s * x),
  );
}

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
  async plan({ sites }) {
    let room = (sites[0]?.c.cache ?? 0) * 2 ** 20;
    return new Map(
      sites.map(({ target, c }) => {
        const bytes = bytesOfSigns(extentsOf(target, c));
        const cache = bytes <= room ? bytes / 2 ** 20 : 0;
        room -= cache * 2 ** 20;
        return [target.path, { c: { cache } }] as const;
      }),
    );
  },

  init: (target, c, rng) => ({
    train: { ...(c.structureAware && { lambda: f32([1], [1]) }) },
    frozen: frozenOf(rng, target, c),
  }),

  shared(sites, c) {
    const numbers = sites.reduce((sum, { target }) => sum + elementCount(shapeOf(target)), 0);
    if (c.dimension > numbers)
      throw new PeftError(
        'CONFIG_INVALID',
        `intrinsic: dimension is ${c.dimension}, the targets have ${numbers} numbers: a subspace is smaller than its space.`,
      );
    return {
      train: { d: f32([c.dimension], new Float32Array(c.dimension)) },
      frozen: { unit: f32([1], [1 / Math.sqrt(numbers)]) },
    };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' ? ops.add(W, p.change!) : W),

  stream: {
    expand: ({ p, target, c }) => ({ change: change(p, target, c) }),
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

  toDelta: ({ p, target, c }) => ({ weight: denseTerm(tensorRef(change(p, target, c))) }),

  size: (_target, c) => (c.structureAware ? 1 : 0),
  sharedSize: (c) => c.dimension,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/intrinsic', methods: [intrinsic] });
