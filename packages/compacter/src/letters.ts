import { PeftError } from '@peftjs/core';
import type { Bottleneck } from './math.js';

/** Letters of a target's tensors: the shared matrices, then both layers'. */
export const letters = ['a', 'downS', 'downT', 'downB', 'upS', 'upT', 'upB'] as const;

export type Letters<T> = Readonly<Record<(typeof letters)[number], T>>;

/** Tensors by letter as the bottleneck they make. @throws PeftError INTERNAL when one is missing */
export function bottleneckOf<T>(p: Readonly<Record<string, T>>): Bottleneck<T> {
  const of = (letter: (typeof letters)[number]): T => {
    const tensor = p[letter];
    if (tensor === undefined) throw new PeftError('INTERNAL', `A bottleneck has no tensor "${letter}".`);
    return tensor;
  };
  return {
    a: of('a'),
    down: { s: of('downS'), t: of('downT'), b: of('downB') },
    up: { s: of('upS'), t: of('upT'), b: of('upB') },
  };
}

/** Shapes of all tensors of a bottleneck of k channels behind a module that gives `width`. */
export const shapesOf = (n: number, width: number, k: number): Letters<readonly number[]> => ({
  a: [n, n, n],
  downS: [n, width / n, 1],
  downT: [n, 1, k / n],
  downB: [k],
  upS: [n, k / n, 1],
  upT: [n, 1, width / n],
  upB: [width],
});
