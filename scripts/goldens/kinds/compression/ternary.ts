import {
  cosine,
  dot,
  electMean,
  fromSigns,
  matvec,
  overlap,
  type Scaled,
  signConflict,
  squaredDistance,
  squaredNorm,
  survivors,
  type Ternary,
  ternaryOf,
} from '@peftjs/compeft';
import { f32, isPeftError } from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import type { CaseFolder, CaseRecord } from '../../case.js';

interface Masks {
  readonly plus: readonly number[];
  readonly minus: readonly number[];
}

type TernaryRecord = CaseRecord &
  Masks & {
    readonly expect?: string;
    readonly n: number;
    readonly a?: Masks;
    readonly b: Masks;
    readonly a_signs?: readonly number[];
    readonly scale_a: number;
    readonly scale_b: number;
    readonly values: Readonly<Record<string, number | null>>;
    readonly shape: readonly [number, number];
    readonly scale: number;
    readonly x?: readonly number[];
    readonly y: readonly number[];
    readonly experts?: readonly (readonly number[])[];
    readonly scales: readonly number[];
    readonly merged: readonly number[];
  };

const read = (n: number, { plus, minus }: Masks): Ternary =>
  ternaryOf(n, Uint32Array.from(plus), Uint32Array.from(minus));

const same = (what: string, got: ArrayLike<number>, expected: readonly number[], tolerance: object): string[] => {
  const { close, message } = compare(f32([got.length], got), f32([expected.length], expected), tolerance);
  return close ? [] : [`${what}: ${message}`];
};

/** Every figure of a pair; undefined ones (null) are NaN. */
function pairProblems(record: TernaryRecord): string[] {
  const { n, scale_a, scale_b, values, a_signs } = record;
  const a: Scaled = { t: read(n, record.a!), s: scale_a };
  const b: Scaled = { t: read(n, record.b), s: scale_b };
  const { same: agreeing, opposite } = overlap(a.t, b.t);
  const got: Readonly<Record<string, number>> = {
    nnz_a: survivors(a.t),
    nnz_b: survivors(b.t),
    dot: dot(a, b),
    norm_a_squared: squaredNorm(a),
    norm_b_squared: squaredNorm(b),
    distance_squared: squaredDistance(a, b),
    cosine: cosine(a, b),
    overlap: agreeing + opposite,
    sign_conflicts: opposite,
    sign_conflict_rate: signConflict(a.t, b.t),
  };
  const problems = Object.entries(values).flatMap(([name, expected]) => {
    const value = got[name];
    const close =
      expected === null ? Number.isNaN(value) : Math.abs(value! - expected) <= 1e-12 + 1e-9 * Math.abs(expected);
    return close ? [] : [`${name}: ${value}, expected ${expected}`];
  });
  if (!a_signs) return problems;
  const again = fromSigns(a_signs);
  return [...problems, ...same('masks of the signs', again.plus, record.a!.plus, { absolute: 0 })];
}

function problemsOf(record: TernaryRecord): string[] {
  const { shape, scale, x, y, experts, scales, merged } = record;
  if (record.a) return pairProblems(record);
  if (experts) {
    const given = experts.map((signs, i) => ({ t: fromSigns(signs), s: scales[i]! }));
    return same('merged', electMean(given), merged, { relative: 1e-6, absolute: 1e-9 });
  }
  const t = read(shape[0] * shape[1], record);
  return same('y', matvec({ t, s: scale }, shape[0], x!), y, { relative: 1e-6, absolute: 1e-6 });
}

/** Arithmetic on masks: pairs, matrix times vector, a merge; masks that are not in order are refused. */
export async function run(folder: CaseFolder): Promise<void> {
  const record = folder.record as TernaryRecord;
  if (record.expect === 'refusal') {
    try {
      read(record.n, record);
    } catch (error) {
      if (isPeftError(error)) return;
      throw error;
    }
    throw new Error('these masks must be refused');
  }
  const problems = problemsOf(record);
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
