import {
  defineMethod,
  definePlugin,
  f32,
  type GraphSite,
  type Ops,
  tensorRef,
  vera as veraKind,
  veraProjections,
  veraTerm,
} from '@peftjs/core';
import { VeraConfig, type VeraSettings } from './config.js';
import * as math from './math.js';
import { savedProjections, savedVectors } from './saved.js';

export { VeraConfig, type VeraOptions, type VeraSettings } from './config.js';

/** Numbers of a matrix that any machine holds in one array: float32 in two gigabytes. */
const most = 2 ** 29;

/** What acts in a module. */
const factorsOf = ({ p, target }: GraphSite<VeraSettings>, ops: Ops): math.Factors => ({
  ...math.sliced({ A: p.A!, B: p.B! }, target, ops),
  d: p.d!,
  b: p.b!,
});

/** VeRA (Kopiczko et al. 2024): two trained vectors a module between random matrices that all modules share. */
export const vera = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'vera',
  paper: 'https://arxiv.org/abs/2310.11454',
  layout: 'VERA',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: VeraConfig,
  fileNames: { dropout: 'vera_dropout' },

  check(target, { r }) {
    const numbers = r * Math.max(target.in, target.out);
    return numbers > most ? [`a rank of ${r} needs a matrix of ${numbers} numbers, the most are ${most}: lower r`] : [];
  },

  /** An adapter to train on keeps its own matrices, wherever they were drawn. */
  async plan({ sites, start }) {
    const targets = sites.map(({ target }) => target);
    const tensors = start && (await savedProjections(start, targets));
    return new Map(targets.map(({ path }) => [path, tensors ? { tensors } : {}]));
  },

  /** b = 0 and d constant (section 3.3): nothing changes. */
  init: ({ out }, { r, dInitial }) => ({
    train: { b: f32([out], new Float32Array(out)), d: f32([r], new Float32Array(r).fill(dInitial)) },
  }),

  /** One pair, as wide as the widest of the targets. */
  shared(sites, { r, projectionPrngKey }) {
    const [first] = sites;
    const given = first?.given;
    if (given?.A && given.B) return { train: {}, frozen: { A: given.A, B: given.B } };
    const most = (side: 'in' | 'out') => Math.max(...sites.map(({ target }) => target[side]));
    const { A, B } = veraProjections(projectionPrngKey, { r, in: most('in'), out: most('out') });
    return { train: {}, frozen: { A, B } };
  },

  delta: (site, ops) => math.delta(factorsOf(site, ops), ops),
  apply: (site, ops) => math.apply(site.x, factorsOf(site, ops), ops),

  toDelta({ p, target }) {
    const tensors = { A: tensorRef(p.A!), B: tensorRef(p.B!), d: tensorRef(p.d!), b: tensorRef(p.b!) };
    return { weight: veraTerm(tensors, { transposed: target.kind === 'conv1d' }) };
  },

  fromKinds: [veraKind.kind],
  fromDelta: ({ terms }) => savedVectors(terms.weight!),

  size: ({ out }, { r }) => out + r,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/vera', methods: [vera] });
