import { elementCount, type Params, type Target } from '@peftjs/core';
import type { SftSettings } from './config.js';

/** Whether a target takes part: heads are trained in full (modulesToSave), norms when they are asked for. */
export const takesPart = ({ kind, head }: Target, { layerNorms }: SftSettings): boolean =>
  !head && (kind !== 'vector' || layerNorms);

/** The parameters of a module that may change, by name. */
export const changeable = ({ kind, parameters }: Target, { biases }: SftSettings): Params<readonly number[]> =>
  Object.fromEntries(
    Object.entries(parameters)
      .filter(([name]) => kind === 'vector' || biases || name !== 'bias')
      .map(([name, { shape }]) => [name, shape]),
  );

/** How many numbers of a target may change. */
export const sizeOf = (target: Target, c: SftSettings): number =>
  Object.values(changeable(target, c)).reduce((sum, shape) => sum + elementCount(shape), 0);
