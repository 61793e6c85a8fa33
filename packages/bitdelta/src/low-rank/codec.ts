import {
  cast,
  concatFactors,
  factorsOf,
  type Kinds,
  keptRank,
  lowRank as lowRankKind,
  orientationOf,
  type Svd,
  sumOfSquares,
  svdOfDense,
  svdOfFactors,
  type Term,
  type Truncation,
  tensorRef,
  termOfSvd,
} from '@peftjs/core';
import { elementCount } from '@peftjs/core/tensor';
import * as z from 'zod';
import { requireRunning } from '../cancelled.js';
import { choose, compressChosen, type Parameter } from '../codec/compress.js';
import { type CodecKind, defineTermCodec, keptDense } from '../codec/define.js';
import { shared } from '../codec/settings.js';
import { denseSum } from '../matrix.js';
import { checkFactors, int8FactorsOf, lowRankInt8, widened } from './kind.js';
import { allocateRanks, rankForFraction } from './rank.js';

const share = z.number().gt(0).max(1);

/** Ways to say how many directions are kept. */
const rules = ['rank', 'energy', 'fraction', 'budget'] as const;

export const LowRankConfig = z
  .strictObject({
    rank: z.number().int().positive().optional().meta({ description: 'Directions of every parameter.' }),
    energy: share
      .optional()
      .meta({ description: 'Share of the sum of squares that is kept; 0.9 where no rule is given.' }),
    fraction: share
      .optional()
      .meta({ description: 'Directions as a share of the smaller side of a parameter (LASER).' }),
    budget: z.number().int().positive().optional().meta({
      description: 'Numbers that all factors together may have; they go where they keep the most energy (ERE).',
    }),
    factors: z.enum(['f32', 'f16', 'int8']).default('f16').meta({ description: 'How the factors are stored.' }),
    ...shared,
  })
  .refine((c) => rules.filter((rule) => c[rule] !== undefined).length < 2, {
    message: `give one of ${rules.join(', ')}, not several`,
  });
export type LowRankOptions = z.input<typeof LowRankConfig>;
type Settings = z.output<typeof LowRankConfig>;

/** A product of factors has hardly a zero: its elements are counted without forming it. */
const survivors = (_: Term, shape: readonly number[]): number => elementCount(shape);

const plain: CodecKind = { kind: lowRankKind, inspect: checkFactors, survivors, expand: async (term) => term };
const small: CodecKind = { kind: lowRankInt8, inspect: checkFactors, survivors, expand: widened };

/** The singular values of a parameter's whole change with their directions, and its sum of squares. */
interface Decomposed {
  readonly svd: Svd;
  readonly energy: number;
}

/** The largest singular directions of every matrix, by rank, energy, fraction or a budget for all. */
export const lowRank = /* @__PURE__ */ defineTermCodec({
  name: 'low-rank',
  paper: 'https://arxiv.org/abs/2305.18425',
  magic: 'LOWRANK1',
  config: LowRankConfig,
  kinds: [plain, small, keptDense],

  async *compress(input) {
    const { delta, c, kinds, signal } = input;
    const { chosen, warnings } = choose(delta, c, (shape) => shape.length === 2);
    for (const message of warnings) yield { type: 'warning', message };
    const budgeted = c.budget === undefined ? undefined : await spend(chosen, c.budget, kinds, signal);
    return yield* compressChosen(input, {
      chosen,
      async make(parameter) {
        const known = budgeted?.get(parameter.path);
        const decomposed = known?.decomposed ?? (await decompose(parameter, kinds, truncationOf(c, parameter.shape)));
        const rank = known?.rank ?? rankOf(decomposed, truncationOf(c, parameter.shape));
        return rank === 0
          ? []
          : [await store(termOfSvd(decomposed.svd, rank, orientationOfAny(parameter.terms)), c.factors)];
      },
    });
  },
});

const isLowRank = ({ kind }: Term): boolean => kind === lowRankKind.kind;

/** How the parameter lies, where a term of it says so. */
function orientationOfAny(terms: readonly Term[]) {
  const said = terms.find(isLowRank);
  return said ? orientationOf(said) : {};
}

async function decompose({ path, shape, terms }: Parameter, kinds: Kinds, truncation: Truncation): Promise<Decomposed> {
  if (terms.length > 0 && terms.every(isLowRank)) {
    const svd = svdOfFactors(concatFactors(await Promise.all(terms.map((term) => factorsOf(term)))));
    return { svd, energy: sumOfSquares(svd.s) };
  }
  const matrix = await denseSum(path, terms, shape, kinds);
  return { svd: svdOfDense(matrix, truncation), energy: sumOfSquares(matrix.data) };
}

/** How much of one parameter is kept by the rules that look at it alone. */
function truncationOf(c: Settings, [rows, columns]: readonly number[]): Truncation {
  if (c.rank !== undefined) return { rank: c.rank };
  return c.fraction === undefined
    ? { energy: c.energy ?? 0.9 }
    : { rank: rankForFraction(c.fraction, rows!, columns!) };
}

const rankOf = ({ svd, energy }: Decomposed, truncation: Truncation): number =>
  keptRank(svd.s, truncation, energy).rank;

/** Decompositions of all parameters, kept in memory until the budget is shared out. */
async function spend(chosen: readonly Parameter[], budget: number, kinds: Kinds, signal: AbortSignal) {
  const all: { readonly path: string; readonly shape: readonly number[]; readonly decomposed: Decomposed }[] = [];
  for (const parameter of chosen) {
    requireRunning(signal, 'The compression');
    all.push({ ...parameter, decomposed: await decompose(parameter, kinds, {}) });
  }
  const ranks = allocateRanks(
    all.map(({ shape, decomposed }) => ({ rows: shape[0]!, columns: shape[1]!, s: decomposed.svd.s })),
    budget,
  );
  return new Map(all.map(({ path, decomposed }, i) => [path, { decomposed, rank: ranks[i]! }]));
}

/** A float32 low-rank term with its factors as they go into the file. */
async function store(term: Term, factors: Settings['factors']): Promise<Term> {
  if (factors === 'f32') return term;
  const [a, b] = await Promise.all([term.tensors.a!.read(), term.tensors.b!.read()]);
  if (factors === 'int8') return int8FactorsOf(a, b, orientationOf(term));
  return { ...term, tensors: { a: tensorRef(cast(a, 'f16')), b: tensorRef(cast(b, 'f16')) } };
}
