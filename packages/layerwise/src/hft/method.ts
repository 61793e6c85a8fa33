import {
  defineMethod,
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
import { HftConfig, type HftSettings, roundsOf } from './config.js';
import { half } from './select.js';

type Sites = readonly { readonly target: Target; readonly c: HftSettings }[];
type Weights = (path: string) => Promise<Tensor>;

/** The paths that a round trains, counted from 0. @throws PeftError TARGETS_UNMATCHED when it trains nothing */
function selected(sites: Sites, { selection, ratio }: HftSettings, round: number, rng: Random): ReadonlySet<string> {
  const targets = sites.map(({ target }) => target);
  if (!selection) {
    const chosen = half(targets, ratio, rng);
    if (chosen.size > 0) return chosen;
    throw new PeftError(
      'TARGETS_UNMATCHED',
      `hft: ${ratio} of the modules of each layer is none of ${targets.length} targets: raise ratio, or widen targetModules.`,
    );
  }
  const known = new Set(targets.map(({ path }) => path));
  const unknown = selection[round]!.filter((path) => !known.has(path));
  if (unknown.length > 0)
    throw new PeftError(
      'TARGETS_UNMATCHED',
      `hft: round ${round} of selection names ${unknown.join(', ')}, which are no targets of this model.`,
    );
  return new Set(selection[round]);
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
  additive: false,
  kinds: ['linear', 'conv1d', 'vector'],
  config: HftConfig,
  defaults: { targetModules: 'all' },

  phases: (c) => Array.from({ length: roundsOf(c) }, (_, round) => ({ name: `round ${round + 1}`, share: 1 })),

  /** Chooses the first round. All targets stay in the run: later rounds choose among them again. */
  async plan({ sites, rng, weight }) {
    const { c } = sites[0]!;
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
