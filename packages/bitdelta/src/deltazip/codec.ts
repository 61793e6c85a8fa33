import { type CompressInput, type Kinds, Problems, type Term } from '@peftjs/core';
import { transpose } from '@peftjs/core/tensor';
import * as z from 'zod';
import { choose, compressChosen, type Parameter } from '../codec/compress.js';
import { defineTermCodec, keptDense } from '../codec/define.js';
import { shared } from '../codec/settings.js';
import { denseSum, extentsOf } from '../matrix.js';
import { checkDeltazip, deltazipKind, deltazipTerm } from './kind.js';
import type { Calibration } from './moments.js';
import { obs } from './obs.js';
import { groupColumns } from './two-of-four.js';

const isCalibration = (value: unknown): value is Calibration =>
  typeof value === 'object' && value !== null && (value as { spec?: unknown }).spec === 'v1' && 'moments' in value;

export const DeltaZipConfig = z
  .strictObject({
    bits: z
      .union([z.literal(2), z.literal(3), z.literal(4), z.literal(8), z.literal(16)])
      .default(4)
      .meta({ description: 'Of a number that is kept; 16 is half precision without a scale.' }),
    structured: z.boolean().default(true).meta({ description: 'Keep two of every four inputs.' }),
    groupSize: z.number().int().positive().optional().meta({
      description: 'Inputs that share a scale; all of an output when not given.',
    }),
    damping: z.number().positive().default(0.01).meta({
      description: "Part of the inputs' mean second moment that is added to each, against noise of few rows.",
    }),
    calibration: z.custom<Calibration>(isCalibration, { message: 'needs what calibration() gives' }).optional().meta({
      description:
        'A model with data, to let later inputs make up for earlier errors. Without it: rounding to nearest.',
    }),
    ...shared,
  })
  .refine((c) => !c.structured || (c.groupSize ?? groupColumns) % groupColumns === 0, {
    path: ['groupSize'],
    message: `must be a multiple of ${groupColumns} where the update is structured`,
  });
export type DeltaZipOptions = z.input<typeof DeltaZipConfig>;
type Settings = z.output<typeof DeltaZipConfig>;

/** Two of four inputs kept, in few bits, errors made up for by second-order updates on calibration activations. */
export const deltazip = /* @__PURE__ */ defineTermCodec({
  name: 'deltazip',
  paper: 'https://arxiv.org/abs/2312.05215',
  magic: 'DLTAZIP1',
  config: DeltaZipConfig,
  kinds: [{ kind: deltazipKind, inspect: checkDeltazip }, keptDense],

  async *compress(input) {
    const { delta, c } = input;
    const { chosen, warnings } = choose(delta, c, (shape) => shape.length === 2);
    for (const message of warnings) yield { type: 'warning', message };
    if (c.structured) requireWidths(chosen, c);
    const groups = c.calibration?.groups(chosen.map(({ path }) => path)) ?? [];
    const order = new Map(groups.flat().map((path, i) => [path, i]));
    const blind = chosen.filter(({ path }) => !order.has(path));
    if (c.calibration && blind.length > 0) yield { type: 'warning', message: blindWarning(blind) };
    const rank = ({ path }: Parameter) => order.get(path) ?? order.size;
    const moments = createMoments(input, groups);
    return yield* compressChosen(input, {
      chosen: [...chosen].sort((a, b) => rank(a) - rank(b)),
      make: async (parameter, made) => [await compressOne(parameter, input, await moments(parameter.path, made))],
    });
  },
});

const blindWarning = (blind: readonly Parameter[]): string =>
  `${blind.length} parameters are no layer's weight and are rounded to nearest (the first is "${blind[0]!.path}"): exclude them to keep them exact.`;

/** @throws PeftError CONFIG_INVALID with every parameter whose inputs do not divide into groups of four */
function requireWidths(chosen: readonly Parameter[], { calibration }: Settings): void {
  const problems = new Problems();
  for (const { path, shape } of chosen) {
    const inputs = calibration?.isTransposed(path) ? shape[0]! : extentsOf(shape).columns;
    if (inputs % groupColumns !== 0)
      problems.add(
        `"${path}" has ${inputs} inputs, no multiple of ${groupColumns}: exclude it, or set structured to false.`,
      );
  }
  problems.throwIfAny('CONFIG_INVALID', 'deltazip');
}

/** Second moments of a parameter's inputs, found for its whole group when the first of it asks. */
function createMoments(
  { delta, c, kinds, signal }: CompressInput<Settings>,
  groups: readonly (readonly string[])[],
): (path: string, made: ReadonlyMap<string, readonly Term[]>) => Promise<Float64Array | undefined> {
  const all: Kinds = new Map([...kinds, [deltazipKind.kind, deltazipKind]]);
  let current: ReadonlyMap<string, Float64Array> = new Map();
  return async (path, made) => {
    const group = groups.find((paths) => paths.includes(path));
    if (!group) return undefined;
    if (!current.has(path)) {
      const now = { shape: delta.shape, params: new Map([...delta.params, ...made]) };
      current = await c.calibration!.moments(group, now, all, signal);
    }
    return current.get(path);
  };
}

async function compressOne(
  { path, terms, shape }: Parameter,
  { c, kinds }: CompressInput<Settings>,
  h: Float64Array | undefined,
): Promise<Term> {
  const { bits, structured, damping } = c;
  const transposed = c.calibration?.isTransposed(path) ?? terms.some(({ meta }) => meta.transposed === true);
  const own = await denseSum(path, terms, shape, kinds);
  const w = transposed ? transpose(own) : own;
  const groupSize = Math.min(c.groupSize ?? w.columns, w.columns);
  const result = obs(w, h, { structured, damping, groupSize, ...(bits !== 16 && { bits }) });
  return deltazipTerm(result, { bits, structured, groupSize, transposed }, w.rows, w.columns);
}
