import {
  defineMethod,
  definePlugin,
  denseTerm,
  elementCount,
  PeftError,
  type Target,
  type Tensor,
  tensorRef,
  toF32,
  zeros,
} from '@peftjs/core';
import { CompacterConfig, type CompacterSettings } from './config.js';
import { startLayers } from './init.js';
import { compacterKind, compacterTerm } from './kind.js';
import { bottleneckOf, type Letters, letters, shapesOf } from './letters.js';
import { bottleneck } from './math.js';
import { requireActivation, requireOneShared } from './saved.js';

export { CompacterConfig, type CompacterOptions, type CompacterSettings } from './config.js';
export { compacterKind, compacterTerm } from './kind.js';

const narrow = (target: Target, c: CompacterSettings): number => Math.floor(target.out / c.reductionFactor);

/** Norms are trained as they are. */
const isNorm = ({ kind }: Target): boolean => kind === 'vector';

const takesPart = (target: Target, c: CompacterSettings): boolean =>
  isNorm(target) ? c.norms : c.roles.some((role) => role === target.role);

/** Compacter: bottlenecks of Kronecker products behind modules, with matrices that all of them share. */
export const compacter = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'compacter',
  paper: 'https://arxiv.org/abs/2106.04647',
  layout: 'PEFTJS',
  additive: false,
  kinds: ['linear', 'conv1d', 'vector'],
  config: CompacterConfig,
  defaults: { targetModules: 'all' },

  check(target, c) {
    if (isNorm(target) || !takesPart(target, c)) return [];
    const k = narrow(target, c);
    const problems: string[] = [];
    if (target.out % c.n !== 0) problems.push(`its ${target.out} outputs do not divide by n = ${c.n}`);
    if (k === 0 || k % c.n !== 0)
      problems.push(
        `${target.out} outputs / reductionFactor ${c.reductionFactor} is a bottleneck of ${k}, which has to be a multiple of n = ${c.n}`,
      );
    return problems;
  },

  checkShared({ bias, dropout }) {
    const problems: string[] = [];
    if (bias !== 'none')
      problems.push(
        `norms train their biases and a bottleneck ends in one of its own: leave bias ${JSON.stringify(bias)} out`,
      );
    if (dropout > 0) problems.push('a bottleneck has no dropout: leave dropout out');
    return problems;
  },

  async plan({ sites, start }) {
    const taken = sites.filter(({ target, c }) => takesPart(target, c));
    if (!taken.some(({ target }) => !isNorm(target))) {
      const found = [...new Set(sites.map(({ target }) => target.role ?? 'none'))].join(', ');
      throw new PeftError(
        'TARGETS_UNMATCHED',
        `compacter: no target has one of the roles ${sites[0]!.c.roles.join(', ')}; theirs are ${found}. Set roles, or other targetModules.`,
      );
    }
    if (start)
      await requireOneShared(
        start,
        taken.map(({ target }) => target.path),
      );
    return new Map(taken.map(({ target }) => [target.path, {}]));
  },

  init(target, c, rng) {
    if (!isNorm(target)) return { train: { ...startLayers(c.n, target.out, narrow(target, c), rng) } };
    // The change of each of its parameters, by the parameter's own name.
    const changes = Object.entries(target.parameters).map(([name, { shape }]) => [name, zeros(shape)] as const);
    return { train: Object.fromEntries(changes) };
  },

  shared: (_sites, c, rng) => ({ train: { a: rng.fork('a').normal([c.n, c.n, c.n], 0, c.phmInitRange) } }),

  weight: ({ W, name, p }, ops) => (p[name] ? ops.add(W, p[name]) : W),

  rewrite: ({ y, p, c }, ops) => ops.add(y, bottleneck(y, bottleneckOf(p), c.activation, ops)),

  toDelta({ p, target, c }) {
    if (isNorm(target))
      return Object.fromEntries(Object.keys(target.parameters).map((name) => [name, denseTerm(tensorRef(p[name]!))]));
    const tensors = Object.fromEntries(letters.map((letter) => [letter, tensorRef(p[letter]!)]));
    const meta = { activation: c.activation, transposed: target.kind === 'conv1d' };
    return { weight: compacterTerm(tensors as unknown as Letters<ReturnType<typeof tensorRef>>, meta) };
  },

  fromKinds: [compacterKind.kind, 'dense'],
  async fromDelta({ terms, target, c }) {
    const p: Record<string, Tensor> = {};
    if (isNorm(target)) {
      for (const [name, term] of Object.entries(terms)) p[name] = toF32(await term.tensors.delta!.read());
      return p;
    }
    requireActivation(target.path, terms.weight!, c.activation);
    for (const letter of letters) p[letter] = toF32(await terms.weight!.tensors[letter]!.read());
    return p;
  },

  size(target, c) {
    if (!takesPart(target, c)) return 0;
    const own = isNorm(target)
      ? Object.values(target.parameters).map(({ shape }) => shape)
      : Object.entries(shapesOf(c.n, target.out, narrow(target, c))).flatMap(([letter, shape]) =>
          letter === 'a' ? [] : [shape],
        );
    return own.reduce((sum, shape) => sum + elementCount(shape), 0);
  },

  sharedSize: ({ n }) => n ** 3,
});

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/compacter',
  methods: [compacter],
  kinds: [compacterKind],
});
