import {
  defineMethod,
  definePlugin,
  denseTerm,
  loraFileNames,
  lowRankTerm,
  type Params,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
} from '@peftjs/core';
import { LoraConfig, type LoraSettings } from './config.js';
import { correction, startBias, startFactors } from './init.js';
import * as math from './math.js';

export { LoraConfig, type LoraOptions, type LoraSettings } from './config.js';

const scaleOf = ({ alpha, r, rslora }: LoraSettings): number => math.scale(alpha, r, rslora);

/** Low-rank adaptation (Hu et al. 2021), with rsLoRA, LoRA+ and LoRA-FA as options. */
export const lora = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'lora',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: LoraConfig,
  fileNames: loraFileNames,
  patterns: { r: 'rankPattern', alpha: 'alphaPattern' },

  check(target, c) {
    const problems: string[] = [];
    if (c.init === 'orthogonal' && c.r % 2 !== 0) problems.push(`an orthogonal start needs an even r, not ${c.r}`);
    if (target.kind === 'embedding' && c.loraBias) problems.push('an embedding has no bias in B: leave loraBias out');
    if (target.kind === 'embedding' && c.fa)
      problems.push('the A of an embedding starts at zero, so LoRA-FA would never train it');
    return problems;
  },

  init(target, c, rng) {
    const { a, b } = startFactors(c.init, { ...extents(target), r: c.r }, rng);
    const bias: Params<Tensor> = c.loraBias ? { bias: startBias(c.init, c.r, target.out, rng) } : {};
    if (c.fa) return { train: { b, ...bias }, frozen: { a, k: correction(a, scaleOf(c)) } };
    return { train: { a, b, ...bias } };
  },

  delta: ({ p, c }, ops) => math.delta(p.a!, p.b!, scaleOf(c), ops),

  apply({ x, p, target, c }, ops) {
    const s = scaleOf(c);
    const y = (target.kind === 'embedding' ? math.applyToIds : math.apply)(x, p.a!, p.b!, s, ops);
    return p.bias ? ops.add(y, ops.mul(p.bias, s)) : y;
  },

  toDelta({ p, target, c }) {
    const scale = scaleOf(c);
    const embedding = target.kind === 'embedding';
    const factors = { a: tensorRef(p.a!), b: tensorRef(p.b!) };
    const weight = lowRankTerm(factors, { scale, transposed: target.kind === 'conv1d', embedding });
    const bias: Params<Term> = p.bias ? { bias: denseTerm(tensorRef(p.bias), scale) } : {};
    return { weight, ...bias };
  },

  async fromDelta({ terms, c }) {
    const { a, b } = terms.weight!.tensors;
    const s = scaleOf(c);
    // The stored scale may be another one (an adapter that was scaled): B takes the difference.
    const ratio = Number(terms.weight!.meta.scale) / s;
    const [A, B] = [toF32(await a!.read()), toF32(await b!.read())];
    const scaled = ratio === 1 ? B : { ...B, data: B.data.map((x) => x * ratio) };
    const bias = terms.bias && toF32(await terms.bias.tensors.delta!.read());
    return { a: A, b: scaled, ...(bias && { bias }), ...(c.fa && { k: correction(A, s) }) };
  },

  size(target, c) {
    const factors = (c.fa ? 0 : c.r * target.in) + target.out * c.r;
    return factors + (c.loraBias ? target.out : 0);
  },

  /** LoRA+: B and every one-dimensional tensor at `ratio` times the rate, embeddings at a rate of their own. */
  rule({ target, name, shape }, { plus }) {
    if (!plus) return {};
    if (target.kind === 'embedding' && shape.length > 1) return { absoluteLr: plus.embeddingLr };
    return name === 'b' || shape.length === 1 ? { lr: plus.ratio } : {};
  },

  precondition: ({ name, g, p }, ops) => (p.k && name === 'b' ? math.correctedGradient(g, p.k, ops) : g),
});

const extents = (target: Target) => ({ inside: target.in, out: target.out, embedding: target.kind === 'embedding' });

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/lora', methods: [lora] });
