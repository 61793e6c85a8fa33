import { stampOf } from '@peftjs/core';
import type { MergeFunction } from '../define.js';
import * as methods from '../methods/index.js';
import { interference } from '../report/interference.js';

/** The methods of this package by name: what every thread knows. */
export const builtinMerges: ReadonlyMap<string, MergeFunction<never>> = new Map(
  (Object.values(methods) as unknown[])
    .filter((exported): exported is MergeFunction<never> => stampOf(exported)?.kind === 'merge')
    .map((method) => [method.merge.name, method]),
);

/** What threads know beside them: measurements, which are no merges. */
export const internalMerges: ReadonlyMap<string, MergeFunction<never>> = new Map([
  [interference.merge.name, interference as unknown as MergeFunction<never>],
]);
