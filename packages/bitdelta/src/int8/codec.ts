import * as z from 'zod';
import { choose, compressChosen } from '../codec/compress.js';
import { defineTermCodec, keptDense } from '../codec/define.js';
import { shared } from '../codec/settings.js';
import { denseSum } from '../matrix.js';
import { checkInt8, int8Kind, int8Term } from './kind.js';
import { quantiseAsymmetric, quantiseSymmetric } from './quantise.js';

export const Int8Config = z.strictObject({
  symmetric: z.boolean().default(true).meta({
    description: 'Codes from -127 to 127 around zero; otherwise 0 to 255 over the range of the row.',
  }),
  ...shared,
});
export type Int8Options = z.input<typeof Int8Config>;

/** Eight bits for every number and a scale a row, rounded to nearest (Dettmers et al. 2022, section 2). */
export const int8 = /* @__PURE__ */ defineTermCodec({
  name: 'int8',
  paper: 'https://arxiv.org/abs/2208.07339',
  magic: 'ROWINT81',
  config: Int8Config,
  kinds: [{ kind: int8Kind, inspect: checkInt8 }, keptDense],

  async *compress(input) {
    const { delta, c, kinds } = input;
    const { chosen, warnings } = choose(delta, c, (shape) => shape.length > 1);
    for (const message of warnings) yield { type: 'warning', message };
    const quantise = c.symmetric ? quantiseSymmetric : quantiseAsymmetric;
    return yield* compressChosen(input, {
      chosen,
      async make({ path, terms, shape }) {
        const matrix = await denseSum(path, terms, shape, kinds);
        return [int8Term(quantise(matrix), matrix.columns)];
      },
    });
  },
});
