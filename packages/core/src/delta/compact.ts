import { toF32 } from '../tensor/convert.js';
import { elementCount } from '../tensor/dtype.js';
import { matrix } from '../tensor/qr.js';
import type { Svd } from '../tensor/svd.js';
import { notASum, requireAdditive } from './additive.js';
import type { Delta, Term } from './delta.js';
import {
  concatFactors,
  factorsOf,
  type Orientation,
  orientationOf,
  svdOfDense,
  svdOfFactors,
  termOfSvd,
} from './factors.js';
import { lowRank } from './kinds/low-rank.js';
import { builtinKinds, type Kinds, kindOf } from './registry.js';
import { checkTruncation, keptRank, sumOfSquares, type Truncation, truncates } from './truncation.js';

export interface CompactOptions extends Truncation {
  readonly kinds?: Kinds;
  /** How a parameter lies whose terms do not say it (only low-rank ones do). Default: (out, in). */
  readonly orientation?: (path: string) => Orientation | undefined;
  readonly signal?: AbortSignal;
}

/** What became of one parameter that was truncated. */
export interface Truncated {
  readonly rank: number;
  /** Share of ‖ΔW‖² that is lost, from 0 to 1. */
  readonly discarded: number;
  /** ‖ΔW‖² before. */
  readonly energy: number;
}

export interface CompactReport {
  /** Every parameter that was decomposed, by path. The others are as exact as before. */
  readonly truncated: ReadonlyMap<string, Truncated>;
  /** Share of the energy of all those together that is lost. */
  readonly discarded: number;
}

/**
 * The same update in fewer terms. Without `rank` and `energy` it is exact: the terms of a parameter become one where
 * their kind can add (low-rank factors side by side, ranks add). With them every matrix becomes the best low-rank
 * approximation of its whole update (Eckart & Young 1936), found from the factors alone where all terms are low-rank;
 * vectors stay exact, and so does a single term whose rank is small enough.
 * Other kinds are written out in full, one parameter at a time.
 * @throws PeftError CONFIG_INVALID for a rank or an energy out of range, DELTA_CONFLICT where one is given and a term is
 *   not a sum W + ΔW
 */
export async function compact(
  delta: Delta,
  options: CompactOptions = {},
): Promise<{ readonly delta: Delta; readonly report: CompactReport }> {
  const { kinds = builtinKinds, signal } = options;
  checkTruncation(options);
  if (truncates(options)) requireAdditive(delta, kinds, 'This update has no low-rank approximation');
  const params = new Map<string, readonly Term[]>();
  const truncated = new Map<string, Truncated>();
  for (const [path, terms] of delta.params) {
    signal?.throwIfAborted();
    const shape = delta.shape.get(path)!;
    if (!truncates(options) || shape.length !== 2 || isSmall(terms, options))
      params.set(path, await joined(terms, shape, kinds));
    else {
      const made = await truncate(terms, shape, options, { ...options.orientation?.(path) });
      params.set(path, [made.term]);
      truncated.set(path, made.report);
    }
  }
  return { delta: { shape: delta.shape, params }, report: reportOf(truncated) };
}

/** Losses by parameter with that of all together, weighted by their energies. */
export function reportOf(truncated: ReadonlyMap<string, Truncated>): CompactReport {
  const all = [...truncated.values()];
  const whole = all.reduce((sum, { energy }) => sum + energy, 0);
  const lost = all.reduce((sum, { energy, discarded }) => sum + energy * discarded, 0);
  return { truncated, discarded: whole > 0 ? lost / whole : 0 };
}

const isLowRank = ({ kind }: Term): boolean => kind === lowRank.kind;

/** One low-rank term within the rank, and nothing asked of its energy. */
const isSmall = (terms: readonly Term[], { rank, energy }: Truncation): boolean =>
  terms.length === 1 && isLowRank(terms[0]!) && energy === undefined && terms[0]!.tensors.a!.shape[0]! <= rank!;

/** One term for each kind that can add; the others as they are. */
async function joined(terms: readonly Term[], shape: readonly number[], kinds: Kinds): Promise<readonly Term[]> {
  if (terms.length < 2 || notASum(terms, kinds)) return terms; // their order counts
  const byKind = new Map<string, Term[]>();
  for (const term of terms) byKind.set(term.kind, [...(byKind.get(term.kind) ?? []), term]);
  const all: Term[] = [];
  for (const same of byKind.values()) {
    const { add } = kindOf(same[0]!, kinds);
    if (add && same.length > 1) all.push(await add(same, shape));
    else all.push(...same);
  }
  return all;
}

async function truncate(terms: readonly Term[], shape: readonly number[], options: CompactOptions, given: Orientation) {
  const said = terms.find(isLowRank);
  const orientation = said ? orientationOf(said) : given;
  const { decomposition, energy } = await decompose(terms, shape, options);
  const { rank, discarded } = keptRank(decomposition.s, options, energy);
  return { term: termOfSvd(decomposition, rank, orientation), report: { rank, discarded, energy } };
}

/** The singular values of the sum of the terms, and its energy. */
async function decompose(
  terms: readonly Term[],
  shape: readonly number[],
  { kinds = builtinKinds, ...truncation }: CompactOptions,
): Promise<{ decomposition: Svd; energy: number }> {
  if (terms.every(isLowRank)) {
    const decomposition = svdOfFactors(concatFactors(await Promise.all(terms.map((term) => factorsOf(term)))));
    return { decomposition, energy: sumOfSquares(decomposition.s) };
  }
  const sum = new Float64Array(elementCount(shape));
  for (const term of terms) {
    const { data } = toF32(await kindOf(term, kinds).dense(term, shape));
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + data[i]!;
  }
  return { decomposition: svdOfDense(matrix(shape[0]!, shape[1]!, sum), truncation), energy: sumOfSquares(sum) };
}
