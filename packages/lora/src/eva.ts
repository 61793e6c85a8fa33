import { f32, type Look, type PlannedTarget, type Tensor } from '@peftjs/core';
import { EvaConfig, type EvaSettings, type LoraSettings } from './config.js';
import { emptyPca, explained, type Pca, settled, update } from './pca.js';

type Planned = Map<string, PlannedTarget<LoraSettings>>;

/**
 * EVA (Paischer et al. 2024, algorithm 1): A starts at the leading directions of what enters each target, found batch by
 * batch until they settle; the sum of all ranks goes to the directions that explain most, wherever they are. A target
 * that gets none is left out. α moves with the rank, so that the scale stays.
 */
export async function explainedVariance(look: Look<LoraSettings>): Promise<Planned> {
  const { sites } = look;
  const { rho, tau, batches } = evaOf(sites[0]!.c);
  const budget = sites.reduce((sum, { c }) => sum + c.r, 0);
  const most = new Map(sites.map(({ target, c }) => [target.path, Math.min(target.in, Math.round(rho * c.r))]));
  let found = new Map<string, Pca>(sites.map(({ target }) => [target.path, emptyPca(target.in)]));
  let ranks = new Map<string, number>();
  for await (const inputs of look.activations(batches)) {
    const next = updateAll(found, inputs, Math.max(...most.values()));
    ranks = distribute(next, most, budget);
    const done = sites.every(({ target: { path } }) =>
      settled(found.get(path)!, next.get(path)!, ranks.get(path)!, tau),
    );
    found = next;
    if (done) break;
  }
  const planned: Planned = new Map();
  for (const { target, c } of sites) {
    const r = ranks.get(target.path) ?? 0;
    if (r === 0) continue;
    const ratio = r / c.r;
    const alpha = c.alpha * (c.rslora ? Math.sqrt(ratio) : ratio);
    const { components } = found.get(target.path)!;
    const a = f32([r, target.in], components.data.subarray(0, r * target.in));
    planned.set(target.path, { c: { r, alpha }, tensors: { a } });
  }
  return planned;
}

const evaOf = ({ eva }: LoraSettings): EvaSettings => eva ?? EvaConfig.parse({});

/** Targets that read the same value share their directions. */
function updateAll(found: ReadonlyMap<string, Pca>, inputs: ReadonlyMap<string, Tensor>, k: number): Map<string, Pca> {
  const made = new Map<Tensor, Pca>();
  for (const [path, rows] of inputs) if (!made.has(rows)) made.set(rows, update(found.get(path)!, rows, k));
  return new Map([...inputs].map(([path, rows]) => [path, made.get(rows)!]));
}

/** The ranks of all targets: the `budget` directions that explain most, no more than `most` of a target. */
export function distribute(
  found: ReadonlyMap<string, Pca>,
  most: ReadonlyMap<string, number>,
  budget: number,
): Map<string, number> {
  const candidates = [...found].flatMap(([path, pca]) =>
    explained(pca)
      .slice(0, most.get(path)!)
      .map((share) => ({ path, share })),
  );
  candidates.sort((a, b) => b.share - a.share); // stable: of equals the target that comes first
  const ranks = new Map([...found.keys()].map((path) => [path, 0]));
  for (const { path } of candidates.slice(0, budget)) ranks.set(path, ranks.get(path)! + 1);
  return ranks;
}
