import {
  defineMethod,
  denseTerm,
  elementCount,
  f32,
  type Params,
  PeftError,
  Problems,
  type Random,
  type Target,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { HftConfig, type HftSettings, roundName, roundsOf } from './config.js';
import { half } from './select.js';

type Sites = readonly { readonly target: Target; readonly c: HftSettings }[];
type Weights = (path: string) => Promise<Tensor>;

/** @throws PeftError TARGETS_UNMATCHED with every round that names what is no target */
function requireKnown(sites: Sites, selection: readonly (readonly string[])[]): void {
  const known = new Set(sites.map(({ target }) => target.path));
  const problems = new Problems();
  for (const [round, paths] of selection.entries()) {
    const unknown = paths.filter((path) => !known.has(path));
    if (unknown.length > 0)
      problems.add(`${roundName(round)} of selection names ${unknown.join(', ')}, which are no targets of this model.`);
  }
  problems.throwIfAny('TARGETS_UNMATCHED', 'hft');
}

/** The paths that a round trains, counted from 0. @throws PeftError TARGETS_UNMATCHED when it trains nothing */
function selected(sites: Sites, { selection, ratio }: HftSettings, round: number, rng: Random): ReadonlySet<string> {
  if (selection) return new Set(selection[round]);
  const targets = sites.map(({ target }) => target);
  const chosen = half(targets, ratio, rng);
  if (chosen.size > 0) return chosen;
  throw new PeftError(
    'TARGETS_UNMATCHED',
    `hft: ${ratio} of the modules of each layer is none of ${targets.length} targets: raise ratio, or widen targetModules.`,
  );
}

/** A module's own parameters by name, as numbers of the base. */
async function base({ path, parameters }: Target, weight: Weights): Promise<Params<Tensor>> {
  const names = Object.keys(parameters);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await weight(`${path}.${name}`)])));
}

/** Half fine-tuning: half of the matrices of every layer are trained in full (Hui et al. 2024). */
export const hft = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'hft',
  paper: 'https://arxiv.org/abs/2404.18466',
  layout: 'PEFTJS',
  additive: true,
  adds: ({ save }) => save === 'change',
  kinds: ['linear', 'conv1d', 'vector'],
  config: HftConfig,
  defaults: { targetModules: 'all' },

  checkShared: ({ bias }) => (bias === 'none' ? [] : ['modules are trained with their biases: leave bias out']),

  phases: (c) => Array.from({ length: roundsOf(c) }, (_, round) => ({ name: roundName(round), share: 1 })),

  /** Chooses the first round. All targets stay in the run: later rounds choose among them again. */
  async plan({ sites, rng, weight }) {
    const { c } = sites[0]!;
    if (c.selection) requireKnown(sites, c.selection);
    const chosen = selected(sites, c, 0, rng.fork('round', 0));
    const selection = [[...chosen], ...(c.selection?.slice(1) ?? [])];
    const planned = sites.map(async ({ target }) => {
      const tensors = chosen.has(target.path) ? await base(target, weight) : {};
      return [target.path, { c: { selection }, tensors }] as const;
    });
    return new Map(await Promise.all(planned));
  },

  init: (_target, _c, _rng, given) => ({ train: given }),

  async next({ phase, sites, targets, rng, c, weight }) {
    const chosen = selected(targets, c, phase, rng);
    const before = new Map(sites.map(({ target, p }) => [target.path, p]));
    const next = targets.map(async ({ target }) => {
      const own = before.get(target.path);
      if (chosen.has(target.path)) return [target.path, { train: own ?? (await base(target, weight)) }] as const;
      return [target.path, { train: {}, frozen: own ?? {} }] as const;
    });
    return { sites: new Map(await Promise.all(next)) };
  },

  weight: ({ W, name, p }) => p[name] ?? W,

  async toDelta({ p, c, weight }) {
    if (c.save === 'replaced') return {};
    const terms = Object.entries(p).map(async ([name, now]) => {
      const W = (await weight(name)).data as Float32Array;
      const change = (now.data as Float32Array).map((x, i) => x - W[i]!);
      return [name, denseTerm(tensorRef(f32(now.shape, change)))] as const;
    });
    return Object.fromEntries(await Promise.all(terms));
  },

  toReplaced: ({ p, c }) =>
    c.save === 'replaced' ? Object.fromEntries(Object.entries(p).map(([name, now]) => [name, tensorRef(now)])) : {},

  size(target, { selection, ratio }) {
    const all = Object.values(target.parameters).reduce((sum, { shape }) => sum + elementCount(shape), 0);
    if (selection) return selection[0]!.includes(target.path) ? all : 0;
    return Math.round(ratio * all); // before anything is chosen
  },
});
