import {
  defineMethod,
  type Initial,
  loraFileNames,
  lowRank,
  lowRankTerm,
  type Ops,
  type Params,
  type Random,
  type ShapedValue,
  type Target,
  type Tensor,
  tensorRef,
  zeros,
} from '@peftjs/core';
import { clearedState } from './cleared.js';
import { ReloraConfig, type ReloraSettings } from './config.js';
import { besideEachOther, changesOf, putAside } from './factors.js';

const scaleOf = ({ alpha, r }: ReloraSettings): number => alpha / r;

/** A from U(±1/√in), B zero, as in LoRA: a restart leaves the model as it is. */
const fresh = (target: Target, { r }: ReloraSettings, rng: Random): Initial['train'] => ({
  a: rng.fork('a').uniform([r, target.in], -1 / Math.sqrt(target.in), 1 / Math.sqrt(target.in)),
  b: zeros([target.out, r]),
});

/** s B A: out × in, of the factors in training or of those put aside. */
const product = (a: ShapedValue, b: ShapedValue, s: number, ops: Ops) => ops.mul(ops.matmul(b, a), s);

/** x (s B A)ᵀ: [rows, out]. */
const branch = (x: ShapedValue, a: ShapedValue, b: ShapedValue, s: number, ops: Ops) =>
  ops.gemm(ops.gemm(x, a, undefined, { transB: true }), b, undefined, { transB: true, alpha: s });

const sum = (
  { a0, b0, a, b }: Params<ShapedValue>,
  of: (a: ShapedValue, b: ShapedValue) => ShapedValue,
  ops: Ops,
): ShapedValue => (a0 && b0 ? ops.add(of(a!, b!), of(a0, b0)) : of(a!, b!));

/** What is left of the rounds so far as one pair of factors; nothing where none has changed anything. */
function allPutAside(p: Params<Tensor>): Params<Tensor> {
  const changes = changesOf(p);
  if (changes.length === 0) return {};
  const { a: a0, b: b0 } = besideEachOther(changes);
  return { a0, b0 };
}

/**
 * Low-rank updates one after the other (Lialin et al. 2023): ΔW = s Σ Bᵢ Aᵢ (eq. 1), of which only the last pair is
 * trained. Their sum has a higher rank than any of them.
 */
export const relora = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'relora',
  paper: 'https://arxiv.org/abs/2307.05695',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: ReloraConfig,
  fileNames: loraFileNames,

  check: (target, { r }) => {
    const largest = Math.min(target.in, target.out);
    return r > largest ? [`its matrix has rank ${largest} at most, r is ${r}`] : [];
  },

  phases: ({ restarts, schedule, warmup }) =>
    Array.from({ length: restarts + 1 }, (_, i) => ({
      name: `round ${i + 1}`,
      share: 1,
      ...(schedule === 'jagged' && { continues: { warmup } }),
    })),

  /** An adapter to train on is what earlier rounds have put aside. */
  async plan({ sites, start }) {
    const planned = sites.map(async ({ target: { path }, c }) => {
      const term = start?.delta.params.get(`${path}.weight`)?.[0];
      return [path, term ? { tensors: await putAside(term, scaleOf(c)) } : {}] as const;
    });
    return new Map(await Promise.all(planned));
  },

  init: (target, c, rng, given) => ({ train: fresh(target, c, rng), frozen: given }),

  async next({ sites, rng, state, c }) {
    const started = sites.map(({ target, c, p }) => {
      return [target.path, { train: fresh(target, c, rng.fork(target.path)), frozen: allPutAside(p) }] as const;
    });
    return { sites: new Map(started), state: clearedState(sites, state, c.cleared) };
  },

  delta: ({ p, c }, ops) => sum(p, (a, b) => product(a, b, scaleOf(c), ops), ops),
  apply: ({ x, p, c }, ops) => sum(p, (a, b) => branch(x, a, b, scaleOf(c), ops), ops),

  toDelta({ p, target, c }) {
    const changes = changesOf(p);
    const { a, b } = changes.length > 0 ? besideEachOther(changes) : { a: p.a!, b: p.b! };
    const options = { scale: scaleOf(c), transposed: target.kind === 'conv1d' };
    return { weight: lowRankTerm({ a: tensorRef(a), b: tensorRef(b) }, options) };
  },

  fromKinds: [lowRank.kind],
  fromDelta: ({ terms, c }) => putAside(terms.weight!, scaleOf(c)),

  size: (target, { r }) => r * (target.in + target.out),
});
