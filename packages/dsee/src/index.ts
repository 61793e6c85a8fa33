import {
  defineMethod,
  definePlugin,
  f32,
  type Initial,
  indexRef,
  lowRankTerm,
  maskTerm,
  type Params,
  PeftError,
  packMask,
  type Random,
  sparseTerm,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
  transposed,
} from '@peftjs/core';
import { DseeConfig, type DseeSettings } from './config.js';
import { inferenceFlops } from './flops.js';
import { masksOf } from './masks.js';
import { apply, masked, type Update } from './math.js';
import { isUpdated, prunes, scaleOf } from './roles.js';
import { supportOf } from './support.js';

export { DseeConfig, type DseeOptions, type DseeSettings } from './config.js';
export { type Flops, inferenceFlops } from './flops.js';
export { type Fewer, type LayerScores, pruningScores, weakest } from './structure.js';

const i64 = (values: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** V normal, U and S₂ zero, as in the authors' code: no change at the start. */
function startOf({ in: width, out }: Target, { r, entries }: DseeSettings, rng: Random): Params<Tensor> {
  return {
    u: f32([out, r], new Float32Array(out * r)),
    v: rng.fork('v').normal([r, width], 0, 0.02),
    s2: f32([entries], new Float32Array(entries)),
  };
}

/** Rows and columns of flat indices. */
function placesOf(indices: Tensor, width: number): Params<Tensor> {
  const flat = Array.from(indices.data as BigInt64Array, Number);
  return { rows: i64(flat.map((i) => Math.floor(i / width))), columns: i64(flat.map((i) => i % width)) };
}

/** S₂ as a term: its entries in the order of the weight as it lies. */
function sparseOf({ p, target, c }: { readonly p: Params<Tensor>; readonly target: Target; readonly c: DseeSettings }) {
  const flat = Array.from(p.s2!.data as Float32Array, (value, k) => {
    const [o, i] = [Number(p.rows!.data[k]), Number(p.columns!.data[k])];
    return { at: target.kind === 'conv1d' ? i * target.out + o : o * target.in + i, value };
  }).sort((a, b) => a.at - b.at);
  const indices = indexRef(
    flat.map(({ at }) => at),
    target.in * target.out,
  );
  const values = tensorRef(
    f32(
      [flat.length],
      flat.map(({ value }) => value),
    ),
  );
  return sparseTerm({ indices, values }, scaleOf(c));
}

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
        if (prunes(c)) planned.set(target.path, { tensors: {} });
        continue;
      }
      const stored = toF32(await look.weight(`${target.path}.weight`));
      const W = target.kind === 'conv1d' ? transposed(stored) : stored;
      const support = supportOf(W, c, look.rng.fork(target.path));
      planned.set(target.path, { tensors: { indices: i64(support) } });
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
    for (const [path, s1] of await masksOf(end)) {
      const { u, v, s2, rows, columns } = trained.get(path) ?? {};
      const updated = u && v && s2 && rows && columns;
      sites.set(path, {
        train: updated ? { u, v, s2 } : {},
        frozen: updated ? { rows, columns, s1 } : { s1 },
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

  toDelta({ p, target, c }) {
    const terms: Term[] = p.s1 ? [maskTerm(packMask(p.s1.data as Uint8Array))] : [];
    if (p.u && p.v) {
      const factors = { a: tensorRef(p.v), b: tensorRef(p.u) };
      terms.push(lowRankTerm(factors, { scale: scaleOf(c), transposed: target.kind === 'conv1d' }));
      terms.push(sparseOf({ p, target, c }));
    }
    return { weight: terms };
  },

  size: (target, c) => (isUpdated(target, c) ? c.r * (target.in + target.out) + c.entries : 0),
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/dsee', methods: [dsee] });
