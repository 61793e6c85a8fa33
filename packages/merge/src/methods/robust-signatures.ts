import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { isBeforeLayers, numberIn } from '../recipe/layers.js';
import { taskVectorFamily } from '../vectors/family.js';
import { lambda } from './options.js';

export const RobustSignaturesConfig = z.strictObject({
  lambda,
  layers: z.number().int().positive().optional().meta({
    description: 'Patch only so many first layers, and what comes before them; deeper ones stay those of the base.',
  }),
});

/** Whether a tensor lies in the first layers, or before them. */
const isShallow = (tensor: string, layers: number): boolean =>
  (numberIn(tensor) ?? (isBeforeLayers(tensor) ? 0 : layers)) < layers;

/**
 * Robust weight signatures (Cai, Zhang and Wang 2023, section 3): what training on one kind of corrupted data changes in a
 * model, RWS_c = θ_c - θ_clean, is a patch that is added with a strength, θ_clean + λ Σ w_c RWS_c, several at once, and
 * taken back with a negative weight. The base is the cleanly trained model. Most of a signature lies in shallow layers,
 * so that `layers` makes it small; with the result as a delta it is a file of its own.
 */
export const robustSignatures = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'robust_signatures',
  paper: 'https://arxiv.org/abs/2302.12480',
  config: RobustSignaturesConfig,
  base: 'required',
  ...taskVectorFamily<z.output<typeof RobustSignaturesConfig>>(({ c, tensor }) => ({
    rule: { divide: 'none' },
    lambda: c.layers === undefined || isShallow(tensor, c.layers) ? c.lambda : 0,
  })),
});
