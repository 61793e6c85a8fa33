import type { Target } from '@peftjs/core';
import type { S2ftSettings } from './config.js';

/**
 * How a module takes part in its coupled structure (Yang et al. 2024, section 3.2): channel j of a feed-forward block is
 * row j of up and gate and column j of down; head h is rows of query, key and value and columns of output.
 */
export interface Units {
  /** Axis of ΔW (out, in) along which units lie: 0 rows, 1 columns. */
  readonly axis: 0 | 1;
  readonly count: number;
  /** Rows or columns of one unit: 1 for channels, the size of a head for heads. */
  readonly width: number;
}

/** A head's size is the model's own word: not width / heads where it says so. */
const heads = ({ headDim }: Target, count: number | undefined, axis: 0 | 1): Units | undefined =>
  count === undefined || headDim === undefined ? undefined : { axis, count, width: headDim };

/** The units of a target; undefined where its role has none that can be cut out. */
export function unitsOf(target: Target): Units | undefined {
  switch (target.role) {
    case 'up':
    case 'gate':
      return { axis: 0, count: target.out, width: 1 };
    case 'down':
      return { axis: 1, count: target.in, width: 1 };
    case 'query':
      return heads(target, target.heads, 0);
    case 'key':
    case 'value':
      // With grouped queries a key or value head stands for its whole group.
      return heads(target, target.kvHeads, 0);
    case 'output':
      return heads(target, target.heads, 1);
    default:
      return undefined;
  }
}

/** The units of a target that the configuration trains. */
export const taken = (target: Target, { roles }: S2ftSettings): Units | undefined =>
  roles.some((role) => role === target.role) ? unitsOf(target) : undefined;

/** Rows or columns of chosen units, ascending. */
export const spread = (chosen: readonly number[], { width }: Units): number[] =>
  [...chosen].sort((a, b) => a - b).flatMap((unit) => Array.from({ length: width }, (_, i) => unit * width + i));
