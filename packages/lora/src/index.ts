import {
  defineMethod,
  definePlugin,
  denseTerm,
  doraTerm,
  f32,
  loraFileNames,
  lowRankTerm,
  type Params,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
  zeros,
} from '@peftjs/core';
import { check } from './check.js';
import { LoraConfig, type LoraSettings } from './config.js';
import { rescaled } from './dora.js';
import { correction, planned, startBias, startFactors } from './init.js';
import * as math from './math.js';
import { planTargets, startsFromWeight } from './plan.js';
import { actingFactors, atScale, readFactors, requireSameFunction, savedFactors } from './saved.js';

export { EvaConfig, type EvaSettings, LoraConfig, type LoraOptions, type LoraSettings } from './config.js';

const scaleOf = ({ alpha, r, rslora }: LoraSettings): number => math.scale(alpha, r, rslora);

/** Low-rank adaptation (Hu et al. 2021), with rsLoRA, DoRA, PiSSA, OLoRA, EVA, LoRA+ and LoRA-FA as options. */
export const lora = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'lora',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  adds: ({ dora }) => !dora,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: LoraConfig,
  fileNames: loraFileNames,
  patterns: { r: 'rankPattern', alpha: 'alphaPattern' },
  check,
  plan: planTargets,

  init(target, c, rng, given) {
    const { a, b } = startFactors(c.init, { ...extents(target), r: c.r }, rng, given);
    const bias: Params<Tensor> = c.loraBias ? { bias: startBias(c.init, c.r, target.out, rng) } : {};
    const from: Params<Tensor> = startsFromWeight(c) ? { a0: a, b0: b } : {};
    const fixed: Params<Tensor> = c.fa ? { a, k: correction(a, scaleOf(c)) } : {};
    const squares = c.dora && planned(given, 'squares');
    const m = squares && f32([target.out], (squares.data as Float32Array).map(Math.sqrt));
    return {
      train: { ...(c.fa ? {} : { a }), b, ...bias, ...(m && { m }) },
      frozen: { ...fixed, ...from, ...(squares && { squares }) },
    };
  },

  delta({ p, c }, ops) {
    const { a, b } = actingFactors(p, ops);
    return math.delta(a, b, scaleOf(c), ops);
  },

  apply({ x, p, target, c }, ops) {
    const s = scaleOf(c);
    const { a, b } = actingFactors(p, ops);
    const y = (target.kind === 'embedding' ? math.applyToIds : math.apply)(x, a, b, s, ops);
    return p.bias ? ops.add(y, ops.mul(p.bias, s)) : y;
  },

  rewrite(site, ops) {
    const { x, y, p, c } = site;
    if (!p.m) return y;
    const s = scaleOf(c);
    const { a, b } = actingFactors(p, ops);
    return rescaled(site, { a, b, s }, () => math.apply(x, a, b, s, ops), ops);
  },

  toDelta({ p, target, c }) {
    const { a, b } = savedFactors(p);
    const factors = { a: tensorRef(a), b: tensorRef(b) };
    const options = {
      scale: scaleOf(c),
      transposed: target.kind === 'conv1d',
      embedding: target.kind === 'embedding',
    };
    const weight = p.m ? doraTerm({ ...factors, magnitude: tensorRef(p.m) }, options) : lowRankTerm(factors, options);
    const bias: Params<Term> = p.bias ? { bias: denseTerm(tensorRef(p.bias), options.scale) } : {};
    return { weight, ...bias };
  },

  fromKinds: ['low-rank', 'dora'],
  async fromDelta({ terms, target, c }) {
    const weight = terms.weight!;
    const { a, magnitude } = weight.tensors;
    const s = scaleOf(c);
    const saved = { a: await a!.read(), b: await atScale(weight, 'b', s) };
    const factors = readFactors(saved, startsFromWeight(c) ? c.r : 0);
    const m = magnitude && toF32(await magnitude.read());
    requireSameFunction(target, c, { ...factors, ...(m && { m }) });
    const bias = terms.bias ? await atScale(terms.bias, 'delta', s) : c.loraBias && zeros([target.out]);
    return { ...factors, ...(bias && { bias }), ...(m && { m }), ...(c.fa && { k: correction(factors.a!, s) }) };
  },

  size(target, c) {
    const factors = (c.fa ? 0 : c.r * target.in) + target.out * c.r;
    return factors + (c.loraBias ? target.out : 0) + (c.dora ? target.out : 0);
  },

  /**
   * LoRA+: B and every one-dimensional tensor at `ratio` times the rate, embeddings at a rate of their own, biases without
   * decay.
   */
  rule({ target, name, shape }, { plus }) {
    if (!plus) return {};
    if (target.kind === 'embedding' && shape.length > 1) return { absoluteLr: plus.embeddingLr };
    const fast = name === 'b' || shape.length === 1;
    return { ...(fast && { lr: plus.ratio }), ...(name === 'bias' && { weightDecay: 0 }) };
  },

  precondition: ({ name, g, p }, ops) => (p.k && name === 'b' ? math.correctedGradient(g, p.k, ops) : g),
});

const extents = (target: Target) => ({ inside: target.in, out: target.out, embedding: target.kind === 'embedding' });

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/lora', methods: [lora] });
