import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { noWeights } from './options.js';

/** One model as it is, or times a factor: what stacks of layers are made with. */
export const passthrough = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'passthrough',
  config: z.strictObject({ scale: z.number().default(1).meta({ description: 'Factor of every number.' }) }),
  base: 'none',
  models: { min: 1, max: 1 },
  check: ({ weights }) => noWeights(weights, 'use scale'),
  combine: ({ models, c }) => models[0]!.map((x) => c.scale * x),
});
