import { eachLargest, type Params, PeftError, type PhaseEnd, type Tensor } from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { importanceOf, sizesOf } from './importance.js';
import { groupsOf, removedFrom } from './roles.js';

/** What S₁ is made from: the end of the first phase. */
export type Trained = Pick<PhaseEnd<DseeSettings>, 'sites' | 'targets' | 'rng' | 'weight'>;

/**
 * S₁ of every target that loses entries, u8 in the layout of its weight, by path: 0 for the least important ones, among
 * equal ones the earlier.
 * @throws PeftError CONFIG_INVALID where updates that did not move are to say what is important
 */
export async function masksOf({ sites, targets, rng, weight }: Trained): Promise<Map<string, Tensor>> {
  const masks = new Map<string, Tensor>();
  const letters = new Map<string, Params<Tensor>>(sites.map(({ target, p }) => [target.path, p]));
  for (const group of groupsOf(targets)) {
    const removed = removedFrom(group);
    if (removed === 0) continue;
    const scores: Float32Array[] = [];
    for (const { target, c } of group.sites) {
      const W = await weight(`${target.path}.weight`);
      const one = { target, c, p: letters.get(target.path) ?? {}, W, rng: rng.fork(target.path) };
      scores.push(group.updated ? importanceOf(one) : sizesOf(W));
    }
    const byUpdates = group.updated && group.sites[0]!.c.importance === 'ABS';
    if (byUpdates && scores.every((list) => list.every((x) => x === 0)))
      throw new PeftError(
        'CONFIG_INVALID',
        `dsee: no update of ${group.sites.map(({ target: { path } }) => `"${path}"`).join(', ')} moved before S1 is made, so importance ABS tells no entry from another: raise steps, lr or trainShare.`,
      );
    const kept = scores.map(({ length }) => new Uint8Array(length).fill(1));
    const smallestFirst = scores.map((list) => ({ length: list.length, at: (i: number) => -list[i]! }));
    eachLargest(smallestFirst, removed, (i, list) => {
      kept[list]![i] = 0;
    });
    for (const [i, { target }] of group.sites.entries()) {
      const shape = target.kind === 'conv1d' ? [target.in, target.out] : [target.out, target.in];
      masks.set(target.path, { dtype: 'u8', shape, data: kept[i]! });
    }
  }
  return masks;
}
