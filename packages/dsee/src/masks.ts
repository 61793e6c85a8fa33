import type { Params, PhaseEnd, Tensor } from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { importanceOf, sizesOf } from './importance.js';
import { groupsOf, removedFrom } from './roles.js';
import { marked } from './select.js';

/** What S₁ is made from: the end of the first phase. */
export type Trained = Pick<PhaseEnd<DseeSettings>, 'sites' | 'targets' | 'rng' | 'weight'>;

/** S₁ of every target, u8 in the layout of its weight, by path: 0 for the least important entries. */
export async function masksOf({ sites, targets, rng, weight }: Trained): Promise<Map<string, Tensor>> {
  const masks = new Map<string, Tensor>();
  const letters = new Map<string, Params<Tensor>>(sites.map(({ target, p }) => [target.path, p]));
  for (const group of groupsOf(targets)) {
    const scores: Float32Array[] = [];
    for (const { target, c } of group.sites) {
      const W = await weight(`${target.path}.weight`);
      const one = { target, c, p: letters.get(target.path) ?? {}, W, rng: rng.fork(target.path) };
      scores.push(group.updated ? importanceOf(one) : sizesOf(W));
    }
    const removed = marked(scores, removedFrom(group), 'smallest');
    for (const [i, { target }] of group.sites.entries()) {
      const shape = target.kind === 'conv1d' ? [target.in, target.out] : [target.out, target.in];
      masks.set(target.path, { dtype: 'u8', shape, data: removed[i]!.map((gone) => 1 - gone) });
    }
  }
  return masks;
}
