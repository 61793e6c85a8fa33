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
import { IntrinsicConfig } from './config.js';
import { project, pullBack } from './math.js';

export { IntrinsicConfig, type IntrinsicOptions, type IntrinsicSettings } from './config.js';

const shapeOf = ({ parameters }: Target): readonly number[] => parameters.weight!.shape;
const floats = (tensor: Tensor) => tensor.data as Float32Array;

/** The seed of a target's rows of P, as a tensor: what a run keeps of P. */
const seedTensor = ({ key: [low, high] }: Random): Tensor => ({
  dtype: 'i64',
  shape: [1],
  data: BigInt64Array.of(BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))),
});

const seedOf = (p: Params<Tensor>): bigint => BigInt.asUintN(64, (p.seed!.data as BigInt64Array)[0]!);

/** λ / √D: the scale of the target (1 without one) on columns of length 1. */
const scaleOf = (p: Params<Tensor>): number => Number(p.unit!.data[0]) * Number(p.lambda?.data[0] ?? 1);

/** ΔW = λ P d / √D, in the weight's layout. */
function change(p: Params<Tensor>, target: Target): Tensor & { readonly data: Float32Array } {
  const shape = shapeOf(target);
  const s = scaleOf(p);
  return f32(
    shape,
    project(seedOf(p), elementCount(shape), floats(p.d!)).map((x) => s * x),
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

  init: (_target, c, rng) => ({
    train: { ...(c.structureAware && { lambda: f32([1], [1]) }) },
    frozen: { seed: seedTensor(rng) },
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
    expand: ({ p, target }) => ({ change: change(p, target) }),
    pullBack({ p, d: { change: g }, target, c }) {
      const s = scaleOf(p);
      const slopes = {
        d: f32(
          [c.dimension],
          pullBack(seedOf(p), floats(g!), c.dimension).map((x) => s * x),
        ),
      };
      if (!p.lambda) return slopes;
      const unit = change({ ...p, lambda: f32([1], [1]) }, target).data;
      const along = floats(g!).reduce((sum, value, i) => sum + value * unit[i]!, 0);
      return { ...slopes, lambda: f32([1], [along]) };
    },
  },

  toDelta: ({ p, target }) => ({ weight: denseTerm(tensorRef(change(p, target))) }),

  size: (_target, c) => (c.structureAware ? 1 : 0),
  sharedSize: (c) => c.dimension,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/intrinsic', methods: [intrinsic] });
