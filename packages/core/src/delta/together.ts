import { Problems } from '../errors.js';
import type { Adapter, Term } from './delta.js';

/** Whether one was trained with the other in place. */
const standsOn = (upper: Adapter, lower: Adapter): boolean => upper.on?.includes(lower.digest) === true;

/**
 * What each of several adapters does beside the others: all of it, but for what one that was trained on top of it replaces.
 * @throws PeftError DELTA_CONFLICT for parameters that one replaces and another, apart from it, replaces or changes
 */
export function together(parts: readonly Adapter[]): Adapter[] {
  const problems = new Problems();
  const last = new Map<string, Adapter>();
  for (const path of new Set(parts.flatMap(({ replaced }) => [...replaced.keys()]))) {
    const replacing = parts.filter(({ replaced }) => replaced.has(path));
    const top = replacing.find((part) => replacing.every((other) => other === part || standsOn(part, other)));
    const changing = parts.filter((part) => part !== top && part.delta.params.has(path));
    if (top && changing.every((part) => standsOn(top, part) || standsOn(part, top))) last.set(path, top);
    else problems.add(`"${path}" is replaced in full by one adapter and changed by another.`);
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These adapters do not add');
  return parts.map((part) => {
    const covered = (path: string): boolean => {
      const top = last.get(path);
      return top !== undefined && top !== part && standsOn(top, part);
    };
    const left = <T>(all: ReadonlyMap<string, T>) => new Map([...all].filter(([path]) => !covered(path)));
    const params = left<readonly Term[]>(part.delta.params);
    return { ...part, delta: { ...part.delta, params }, replaced: left(part.replaced) };
  });
}
