import {
  type CompressEvent,
  type CompressInput,
  cast,
  type Delta,
  denseTerm,
  elementCount,
  f32,
  type Kinds,
  matchModules,
  Problems,
  type Term,
  tensorRef,
} from '@peftjs/core';
import { requireRunning } from '../cancelled.js';
import { denseSum } from '../matrix.js';
import { bytesOfTerm } from '../terms.js';
import type { SharedSettings } from './settings.js';

/** A parameter that is to be compressed. */
export interface Parameter {
  readonly path: string;
  readonly shape: readonly number[];
  readonly terms: readonly Term[];
}

/** What is done to which parameters of a delta. */
export interface Work {
  /** Those that are compressed, in the order in which `make` gets them. */
  readonly chosen: readonly Parameter[];
  /** The terms that take the place of a parameter's own; `made` are those of the parameters before it. */
  make(parameter: Parameter, made: ReadonlyMap<string, readonly Term[]>): Promise<readonly Term[]>;
}

const moduleOf = (path: string): string => path.slice(0, path.lastIndexOf('.'));

/**
 * The parameters that have a shape for which `fits` holds and are not excluded, and what of `exclude` matched nothing.
 * @throws PeftError DELTA_CONFLICT for a parameter without numbers
 */
export function choose(delta: Delta, { exclude }: SharedSettings, fits: (shape: readonly number[]) => boolean) {
  const problems = new Problems();
  const modules = [...new Set([...delta.params.keys()].map(moduleOf))];
  const { matched, unmatched } = matchModules(modules, { targetModules: exclude });
  const excluded = new Set(matched);
  const chosen: Parameter[] = [];
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    if (elementCount(shape) === 0) problems.add(`"${path}" is [${shape}], which has no numbers: leave it out.`);
    if (fits(shape) && !excluded.has(moduleOf(path))) chosen.push({ path, shape, terms });
  }
  problems.throwIfAny('DELTA_CONFLICT', 'This update cannot be compressed');
  return { chosen, warnings: unmatched.map(({ entry }) => `exclude: "${entry}" matches nothing in this update.`) };
}

/** Compresses the chosen parameters and keeps the others dense. The result has the parameters in the delta's order. */
export async function* compressChosen(
  { delta, c, kinds, signal }: CompressInput<SharedSettings>,
  { chosen, make }: Work,
): AsyncGenerator<CompressEvent, Delta, void> {
  const made = new Map<string, readonly Term[]>();
  const grown: string[] = [];
  for (const [i, parameter] of chosen.entries()) {
    requireRunning(signal, 'The compression');
    const { path, terms } = parameter;
    made.set(path, await make(parameter, made));
    if (bytesOf(made.get(path)!) > bytesOf(terms)) grown.push(path);
    yield { type: 'tensor', path, done: i + 1, total: chosen.length };
  }
  if (grown.length > 0) yield { type: 'warning', message: grownWarning(grown, chosen.length) };
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const own = delta.shape.get(path)!;
    const now = made.get(path) ?? [await keep(path, terms, own, c.kept, kinds)];
    if (now.length === 0) continue; // nothing of it is left
    shape.set(path, own);
    params.set(path, now);
  }
  return { shape, params };
}

const bytesOf = (terms: readonly Term[]): number => terms.reduce((sum, term) => sum + bytesOfTerm(term), 0);

const grownWarning = (grown: readonly string[], total: number): string =>
  `${grown.length} of ${total} parameters take more bytes compressed than before (the first is "${grown[0]}"): a low-rank update is small already.`;

async function keep(
  path: string,
  terms: readonly Term[],
  shape: readonly number[],
  dtype: SharedSettings['kept'],
  kinds: Kinds,
): Promise<Term> {
  const { data } = await denseSum(path, terms, shape, kinds);
  return denseTerm(tensorRef(cast(f32(shape, data), dtype)));
}
