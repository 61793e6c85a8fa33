import { type Clock, f32, type StepEdit, type StepEnd, type Tensor } from '@peftjs/core';
import { addedRank, type IncreloraSettings, largestRank } from './config.js';

/** A module on its way: its rank, its score at this step, and the smoothed ones. */
export interface Candidate {
  readonly path: string;
  readonly rank: number;
  /** The rank that it cannot exceed. */
  readonly largest: number;
  readonly importance: number;
}

const numbers = (tensor: Tensor | undefined): number[] => Array.from(tensor!.data as Float32Array);
const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** I ← β₁ I + (1-β₁) S and U ← β₂ U + (1-β₂) |S - I|, with the new I (eq. 7 and 8). */
export function smoothed(
  { I, U }: { readonly I: number; readonly U: number },
  S: number,
  { beta1, beta2 }: Pick<IncreloraSettings, 'beta1' | 'beta2'>,
): { readonly I: number; readonly U: number } {
  const next = beta1 * I + (1 - beta1) * S;
  return { I: next, U: beta2 * U + (1 - beta2) * Math.abs(S - next) };
}

/** When modules grow, in updates counted from 0. */
export function schedule(c: IncreloraSettings, modules: number, { total: updates }: Pick<Clock, 'total'>) {
  const warmup = c.warmup ?? Math.floor(updates / 20);
  const growths = Math.ceil(((c.targetRank - c.initialRank) * modules) / (Math.min(c.topH, modules) * addedRank(c)));
  const interval = c.interval ?? Math.max(1, Math.floor(((2 / 3) * updates - warmup) / Math.max(1, growths)));
  return { grows: (t: number): boolean => t > warmup && t % interval === 0 };
}

/**
 * The modules that grow: the most important ones that have room, the earlier among equals. In the `code` variant all that
 * reach the importance of the last of them, so that equals overshoot the budget.
 * @param budget ranks that may still be added
 * @param added ranks that a module grows by
 */
export function chosen(
  candidates: readonly Candidate[],
  budget: number,
  c: Pick<IncreloraSettings, 'topH' | 'variant'>,
  added: number,
): string[] {
  const room = candidates.filter(({ rank, largest }) => rank + added <= largest);
  const order = [...room].sort((a, b) => b.importance - a.importance);
  if (c.variant === 'code') {
    const least = order[Math.min(c.topH, order.length) - 1]?.importance ?? Number.POSITIVE_INFINITY;
    return room.filter(({ importance }) => importance >= least).map(({ path }) => path);
  }
  return order.slice(0, Math.min(c.topH, Math.floor(budget / added))).map(({ path }) => path);
}

/** 1 for the first `count` slots: [slots]. */
export const firstSlots = (slots: number, count: number): Tensor =>
  f32(
    [slots],
    Float32Array.from({ length: slots }, (_, i) => (i < count ? 1 : 0)),
  );

/** Follows the importance of the modules, and grows the most important ones when their time has come. */
export async function grow({
  clock,
  sites,
  observed,
  read,
}: StepEnd<IncreloraSettings>): Promise<StepEdit | undefined> {
  const { c } = sites[0]!;
  const added = addedRank(c);
  const letters = ['grown', 'present', 'importance', 'uncertainty'] as const;
  const held = await read(sites.flatMap(({ target }) => letters.map((letter) => `${target.path}:${letter}`)));
  const numberIn = (path: string, letter: (typeof letters)[number]) => numbers(held.get(`${path}:${letter}`));
  const modules = sites.map(({ target }) => {
    const { path } = target;
    const S = numbers(observed.get(`${path}:score`))[0]!;
    const before = { I: numberIn(path, 'importance')[0]!, U: numberIn(path, 'uncertainty')[0]! };
    const grown = numberIn(path, 'grown');
    const rank = total(grown);
    return { path, slots: grown.length, rank, largest: largestRank(c, target), ...smoothed(before, S, c) };
  });
  const set = new Map<string, Tensor>();
  const t = clock.step - 1;
  const budget = Math.round(c.targetRank * sites.length) - total(modules.map(({ rank }) => rank));
  if (budget < added && !(c.variant === 'code' && budget > 0)) return undefined;
  // The first reserves come after the first update.
  if (t === 0) for (const { path, slots, rank } of modules) set.set(`${path}:present`, firstSlots(slots, rank + added));

  for (const { path, I, U } of modules) {
    set.set(`${path}:importance`, f32([], [I]));
    set.set(`${path}:uncertainty`, f32([], [U]));
  }
  if (!schedule(c, sites.length, clock).grows(t)) return edit(set);
  const paths = chosen(
    modules.map(({ path, rank, largest, I, U }) => ({ path, rank, largest, importance: I * U })),
    budget,
    c,
    added,
  );
  for (const { path, slots, rank } of modules.filter((module) => paths.includes(module.path))) {
    set.set(`${path}:grown`, firstSlots(slots, rank + added));
    set.set(`${path}:present`, firstSlots(slots, rank + 2 * added));
  }
  const left = budget - paths.length * added;
  // At the end reserves are silenced; after an overshoot the authors' code never gets there.
  const over = c.variant === 'code' ? left === 0 : left < added || paths.length === 0;
  if (over) set.set('*:spare', f32([], [0]));
  return { set, note: `${paths.length} modules grow by ${added}; ${Math.max(0, left)} ranks are left to give` };
}

const edit = (set: ReadonlyMap<string, Tensor>): StepEdit | undefined => (set.size > 0 ? { set } : undefined);
