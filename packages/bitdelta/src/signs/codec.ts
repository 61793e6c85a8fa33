import * as z from 'zod';
import { choose, compressChosen } from '../codec/compress.js';
import { type CodecKind, defineTermCodec, keptDense } from '../codec/define.js';
import { shared } from '../codec/settings.js';
import { denseSum } from '../matrix.js';
import { checkSigns, signs, signsTerm } from './kind.js';
import { signPlanes } from './signs.js';

export const BitDeltaConfig = z.strictObject({
  bits: z.number().int().min(1).max(8).default(1).meta({
    description: 'Signs a number gets: each further one describes what those before it left over.',
  }),
  scale: z
    .enum(['tensor', 'row'])
    .default('tensor')
    .meta({ description: 'One scale for a parameter, as in the paper, or one for each of its rows.' }),
  signOfZero: z
    .union([z.literal(1), z.literal(-1)])
    .default(1)
    .meta({ description: "What a zero becomes: 1 as in the authors' code, -1 as in their paper." }),
  ...shared,
});
export type BitDeltaOptions = z.input<typeof BitDeltaConfig>;

const signsKind: CodecKind = { kind: signs, inspect: checkSigns };

/** One sign for every number and a scale: 16 times fewer bits than half precision. */
export const bitdelta = /* @__PURE__ */ defineTermCodec({
  name: 'bitdelta',
  paper: 'https://arxiv.org/abs/2402.10193',
  magic: 'BITDELT1',
  config: BitDeltaConfig,
  kinds: [signsKind, keptDense],

  async *compress(input) {
    const { delta, c, kinds } = input;
    const { chosen, warnings } = choose(delta, c, (shape) => shape.length > 1);
    for (const message of warnings) yield { type: 'warning', message };
    return yield* compressChosen(input, {
      chosen,
      async make({ path, terms, shape }) {
        const matrix = await denseSum(path, terms, shape, kinds);
        return signPlanes(matrix, c.bits, c).map((plane) => signsTerm(plane, matrix.rows, c.scale === 'row'));
      },
    });
  },
});
