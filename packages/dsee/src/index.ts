import {
  defineMethod,
  definePlugin,
  graphIndices,
  type Initial,
  type Params,
  PeftError,
  type Tensor,
  toF32,
  transposed,
} from '@peftjs/core';
import { DseeConfig } from './config.js';
import { inferenceFlops } from './flops.js';
import { masksOf } from './masks.js';
import { apply, masked, type Update } from './math.js';
import { isUpdated, prunes, scaleOf } from './roles.js';
import { supportOf } from './support.js';
import { placesOf, startOf, termsOf } from './tensors.js';

export { DseeConfig, type DseeOptions, type DseeSettings } from './config.js';
export { type Flops, inferenceFlops, linearFlops } from './flops.js';
export { type Fewer, type LayerScores, pruningScores, weakest } from './structure.js';

/** W ⊙ S₁ + s (U V + S₂): low-rank and sparse updates over a base that is pruned half-way (Chen et al. 2023). */
export const dsee = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'dsee',
  paper: 'https://arxiv.org/abs/2111.00160',
  layout: 'PEFTJS',
  additive: false,
  kinds: ['linear', 'conv1d'],
  config: DseeConfig,

  check(target, c) {
    if (!isUpdated(target, c)) return [];
    const [m, n] = [target.out, target.in];
    const problems: string[] = [];
    if (c.r > Math.min(m, n)) problems.push(`its weight is ${m} × ${n}, r is ${c.r}: take ${Math.min(m, n)} at most`);
    if (c.entries > m * n) problems.push(`its weight has ${m * n} entries, entries is ${c.entries}`);
    return problems;
  },

  async plan(look) {
    const planned = new Map<string, { tensors: Params<Tensor> }>();
    for (const { target, c } of look.sites) {
      if (!isUpdated(target, c)) {
        if (c.ratio > 0) planned.set(target.path, { tensors: {} });
        continue;
      }
      const stored = toF32(await look.weight(`${target.path}.weight`));
      const W = target.kind === 'conv1d' ? transposed(stored) : stored;
      const support = supportOf(W, c, look.rng.fork(target.path));
      planned.set(target.path, { tensors: { indices: graphIndices(support) } });
    }
    if (!look.sites.some(({ target, c }) => isUpdated(target, c))) {
      const found = [...new Set(look.sites.map(({ target }) => target.role ?? 'none'))].join(', ');
      throw new PeftError(
        'TARGETS_UNMATCHED',
        `dsee: no target has one of the roles ${look.sites[0]!.c.roles.join(', ')}; theirs are ${found}. Set roles, or other targetModules.`,
      );
    }
    return planned;
  },

  init(target, c, rng, { indices }) {
    if (!isUpdated(target, c)) return { train: {} };
    if (!indices)
      throw new PeftError('CONFIG_INVALID', `dsee: nothing has chosen entries of "${target.path}": plan it first.`);
    return { train: startOf(target, c, rng), frozen: placesOf(indices, target.in) };
  },

  /** The released code trains, prunes and trains again; without S₁ there is nothing to train again for. */
  phases: (c) =>
    prunes(c)
      ? [
          { name: 'train', share: c.trainShare },
          { name: 'retrain', share: 1 - c.trainShare },
        ]
      : [{ name: 'train', share: 1 }],

  async next(end) {
    const trained = new Map(end.sites.map(({ target, p }) => [target.path, p]));
    const sites = new Map<string, Initial>();
    const masks = await masksOf(end);
    for (const { target } of end.targets) {
      const { u, v, s2, rows, columns } = trained.get(target.path) ?? {};
      const updated = u && v && s2 && rows && columns;
      const s1 = masks.get(target.path);
      if (!updated && !s1) continue;
      sites.set(target.path, {
        train: updated ? { u, v, s2 } : {},
        frozen: { ...(updated && { rows, columns }), ...(s1 && { s1 }) },
      });
    }
    return { sites };
  },

  /** Says once what S₁ saves. */
  async onStep({ clock, sites }) {
    if (clock.phase !== 1 || clock.phaseStep !== 1) return undefined;
    const { before, after } = inferenceFlops(sites);
    return {
      note: `S1 is made: the targets take ${after} FLOPs for a token where zeros are skipped, ${before} in the base (${Math.round((100 * after) / before)} %).`,
    };
  },

  weight: ({ W, name, p }, ops) => (name === 'weight' && p.s1 ? masked(W, p.s1, ops) : W),
  rewrite: ({ x, y, p, c }, ops) => (p.u ? ops.add(y, apply(x, p as unknown as Update, scaleOf(c), ops)) : y),

  toDelta: (site) => ({ weight: termsOf(site) }),

  size: (target, c) => (isUpdated(target, c) ? c.r * (target.in + target.out) + c.entries : 0),
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/dsee', methods: [dsee] });
