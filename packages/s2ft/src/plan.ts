import {
  type Adapter,
  graphIndices,
  type Look,
  type Params,
  PeftError,
  type PlannedTarget,
  Problems,
  type Tensor,
} from '@peftjs/core';
import type { S2ftSettings } from './config.js';
import { savedBlock } from './saved.js';
import { scoresOf } from './scores.js';
import { type Candidate, choose } from './select.js';
import { spread, taken, unitsOf } from './units.js';

type Sites = Look<S2ftSettings>['sites'];
type Planned = ReadonlyMap<string, PlannedTarget<S2ftSettings>>;

const trained = (indices: readonly number[]): { c: { channels: number }; tensors: Params<Tensor> } => ({
  c: { channels: indices.length },
  tensors: { indices: graphIndices(indices) },
});

/** The rows and columns to train: those of an adapter to train on, or those that the scores choose. */
export async function planned(look: Look<S2ftSettings>): Promise<Planned> {
  const sites = look.sites.filter(({ target, c }) => taken(target, c));
  if (sites.length === 0) {
    const found = [...new Set(look.sites.map(({ target }) => target.role ?? 'none'))].join(', ');
    throw new PeftError(
      'TARGETS_UNMATCHED',
      `s2ft: no target has one of the roles ${look.sites[0]!.c.roles.join(', ')}; theirs are ${found}. Set roles, or other targetModules.`,
    );
  }
  return look.start ? saved(sites, look.start) : chosen(sites, look);
}

async function saved(sites: Sites, { delta }: Adapter): Promise<Planned> {
  const all = new Map<string, ReturnType<typeof trained>>();
  for (const { target } of sites) {
    const term = delta.params.get(`${target.path}.weight`)?.[0];
    if (term) all.set(target.path, trained((await savedBlock(term, target)).indices));
  }
  return all;
}

/** Targets that compete: those of a role with one ratio, or each alone where the number of its channels is given. */
const groupOf = ({ target, c }: Sites[number]): string =>
  c.channels === undefined ? `${target.role} ${c.ratio}` : target.path;

/** Roles with one ratio compete over all layers together, as in the authors' code. */
async function chosen(sites: Sites, look: Look<S2ftSettings>): Promise<Planned> {
  const groups = new Map<string, Sites[number][]>();
  for (const site of sites) groups.set(groupOf(site), [...(groups.get(groupOf(site)) ?? []), site]);
  const problems = new Problems();
  for (const group of groups.values()) if (budgetOf(group) === 0) problems.add(nothingTaken(group));
  problems.throwIfAny('CONFIG_INVALID', 's2ft');

  const scores = await scoresOf(sites, look, (site) => look.rng.fork(groupOf(site)));
  const all = new Map<string, ReturnType<typeof trained>>();
  for (const group of groups.values()) {
    const candidates: Candidate[] = group.flatMap(({ target: { path } }) =>
      [...scores.get(path)!].map((score, unit) => ({ path, unit, score })),
    );
    const picked = choose(candidates, budgetOf(group), group[0]!.c.largest);
    for (const { target } of group) {
      const own = picked.get(target.path);
      if (own) all.set(target.path, trained(spread(own, unitsOf(target)!)));
    }
  }
  return all;
}

const unitsIn = (group: Sites): number => group.reduce((sum, { target }) => sum + unitsOf(target)!.count, 0);

/** Units that a group trains. */
function budgetOf(group: Sites): number {
  const { target, c } = group[0]!;
  return c.channels === undefined ? Math.floor(unitsIn(group) * c.ratio) : c.channels / unitsOf(target)!.width;
}

function nothingTaken(group: Sites): string {
  const { target, c } = group[0]!;
  const units = unitsIn(group);
  const what = unitsOf(target)!.width > 1 ? 'heads' : 'channels';
  const least = Math.ceil(1000 / units) / 1000; // rounded up, so that it takes one
  return `ratio ${c.ratio} of ${units} ${what} with the role ${target.role} is none: raise it to ${least}, with ratioPattern for these modules alone, or take ${target.role} out of roles.`;
}
