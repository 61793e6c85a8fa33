import { bindMethod, type Params, startTensors, type Tensor } from '@peftjs/core';
import { type DseeSettings, dsee } from '@peftjs/dsee';
import { nextStart } from '../../packages/core/src/train/next-phase.js';
import type { CaseFolder, CaseRecord } from './case.js';
import type { TorchOptimizer } from './optimizers.js';
import type { Trained } from './trained.js';

export interface DseeRecord extends CaseRecord {
  readonly config: {
    readonly r: number;
    readonly alpha: number;
    readonly targets: readonly string[];
    readonly num_sparse: number;
    readonly optimizer: TorchOptimizer & { readonly steps: readonly [number, number] };
    readonly pruning_ratio: number;
    readonly ad_pruning_ratio: number;
    readonly prune_mode: string;
    readonly prune_heads_per_layer: number;
  };
  readonly heads_removed: readonly (readonly number[])[];
}

export type Named = ReadonlyMap<string, Tensor>;

/** Letters of the method, as the case writes them. */
const letters = { u: 'U', v: 'V', s2: 'val' } as const;

/** Importances by their names in the case. */
export const importances: Readonly<Record<string, DseeSettings['importance']>> = {
  ABS: 'ABS',
  W: 'W',
  WABS_scaled: 'WABS',
  WABS_official: 'WABS-released',
};

/** The method on the base, with the entries and the start of the case. */
export async function planned({ record, inputs }: CaseFolder<DseeRecord>, base: Trained['base']): Promise<Trained> {
  const { r, alpha, num_sparse, pruning_ratio, ad_pruning_ratio, prune_mode } = record.config;
  const { targets, parameters } = base.model;
  const bound = dsee({
    r,
    alpha,
    entries: num_sparse,
    ratio: pruning_ratio,
    updatedRatio: ad_pruning_ratio,
    importance: importances[prune_mode]!,
    modulesToSave: ['classifier'],
  });
  const plan = bindMethod(bound, { targets, parameters });
  const sites = plan.sites.map((site) => {
    const indices = inputs.get(`start/${site.target.path}.indices`);
    const given: Params<Tensor> = indices ? { indices: asI64(indices) } : {};
    return { ...site, given };
  });
  const settled = { ...plan, sites };
  const own = await startTensors(settled, { seed: 0, parameters });
  const train = new Map(
    [...own.train].map(([name, tensor]) => [name, inputs.get(`start/${caseName(name)}`) ?? tensor]),
  );
  return { base, bound, plan: settled, start: { ...own, train } };
}

const asI64 = ({ data, shape }: Tensor): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(data as Int32Array, BigInt),
});

/** A tensor of the method as the case names it. */
export const caseName = (name: string): string => {
  const [path, letter] = name.split(':');
  return letter ? `${path}.${letters[letter as keyof typeof letters]}` : path!;
};

/** Where the second phase begins. */
export const pruned = ({ plan, start, base }: Trained, train: Named) =>
  nextStart({ plan, start } as Prepared, base.model as never, {
    phase: 1,
    start,
    train,
    held: new Map(),
    kept: new Map(),
    state: new Map(),
    seed: 0,
  });

type Prepared = Parameters<typeof nextStart>[0];

/** The same with another importance. */
export const by = (trained: Trained, importance: DseeSettings['importance']): Trained => ({
  ...trained,
  plan: {
    ...trained.plan,
    sites: trained.plan.sites.map((site) => ({ ...site, c: { ...(site.c as DseeSettings), importance } })),
  },
});

/** S₁ by the path of its target. */
export const masksIn = ({ start }: Pick<Trained, 'start'>): Named =>
  new Map([...start.frozen].flatMap(([name, t]) => (name.endsWith(':s1') ? [[name.slice(0, -':s1'.length), t]] : [])));
