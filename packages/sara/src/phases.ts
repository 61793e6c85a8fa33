import { f32, graphIndices, type Initial, type Phase, type PhaseEnd, type PhaseStart, zeros } from '@peftjs/core';
import type { SaraSettings } from './config.js';
import { below, changes, smallest } from './select.js';

export const phasesOf = ({ progressive }: SaraSettings): readonly Phase[] =>
  progressive
    ? [
        { name: 'first', share: 1 },
        { name: 'rest', share: 1 },
      ]
    : [{ name: 'train', share: 1 }];

/**
 * Goes on with the numbers that are still below the threshold (Hu et al. 2024, section 4.3): all changes so far stay,
 * the optimizer begins anew. A weight without such numbers goes on with its smallest.
 */
export async function nextPhase({ sites, weight }: PhaseEnd<SaraSettings>): Promise<PhaseStart> {
  const starts = new Map<string, Initial>();
  for (const { target, c, p } of sites) {
    const changed = changes(p);
    const theta = Float32Array.from((await weight(`${target.path}.weight`)).data as Float32Array);
    for (const [at, change] of changed) theta[at] = theta[at]! + change;
    const still = below(theta, c.threshold);
    const chosen = still.length > 0 ? still : smallest(theta, 1).indices;
    starts.set(target.path, {
      train: { v: zeros([chosen.length]) },
      frozen: {
        indices: graphIndices(chosen),
        fixed: f32([changed.size], [...changed.values()]),
        fixedIndices: graphIndices([...changed.keys()]),
      },
    });
  }
  return { sites: starts };
}
