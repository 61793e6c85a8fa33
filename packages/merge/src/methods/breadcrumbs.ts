import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { dropSelected, keepSelected } from '../select.js';
import { taskVectorFamily } from '../vectors/family.js';
import { consensus, density, lambda, normalize } from './options.js';

export const BreadcrumbsConfig = z.strictObject({
  density: density.default(1),
  gamma: z
    .number()
    .min(0)
    .lt(1)
    .default(0.01)
    .meta({ description: "Fraction of the largest elements of each tensor's task vector that is dropped." }),
  lambda,
  rescale: z
    .boolean()
    .default(false)
    .meta({ description: "Bring each thinned task vector back to its tensor's L1 norm." }),
  consensus: consensus.default('none'),
  normalize: normalize.default(false),
});
type Settings = z.output<typeof BreadcrumbsConfig>;

/** Elements dropped at the top and at the bottom of n; when both exceed n - int(ρ n), fewer at the top. */
function dropped(n: number, rho: number, gamma: number): { top: number; bottom: number } {
  const top = Math.floor(gamma * n);
  const bottom = n - Math.floor(rho * n) - top;
  return bottom < 0 ? { top: top + bottom, bottom: 0 } : { top, bottom };
}

/**
 * Drop the largest and the smallest elements of each task vector (Davari and Belilovsky 2024), per tensor, with the
 * counts of mergekit. NOTE: mergekit drops the whole task vector of a tensor whose int(γ n) is 0; here it drops none at
 * the top.
 */
export const breadcrumbs = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'breadcrumbs',
  paper: 'https://arxiv.org/abs/2312.06795',
  config: BreadcrumbsConfig,
  perModel: ['density', 'gamma'],
  base: 'required',
  ...taskVectorFamily<Settings>(({ c, each }) => ({
    wanted(i) {
      const { density: rho, gamma } = each[i]!;
      return {
        top: { k: (n) => dropped(n, rho, gamma).top },
        upper: { k: (n) => n - dropped(n, rho, gamma).bottom },
      };
    },
    sparsify(tau, { chunk: { offset }, selection }) {
      keepSelected(tau, selection('upper'), offset);
      dropSelected(tau, selection('top'), offset);
    },
    keepNorm: c.rescale,
    rule: {
      divide: c.normalize ? 'weights' : 'none',
      ...(c.consensus !== 'none' && { elect: { by: c.consensus, weighted: true, zero: 'plus' } }),
    },
    lambda: c.lambda,
  })),
});
