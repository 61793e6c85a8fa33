import type { Adapter, Term } from '../delta/delta.js';
import { indexProblem, indexRef, numbersOf, placesOf } from '../delta/kinds/indices.js';
import { rows, rowsTerm, setRows } from '../delta/kinds/rows.js';
import type { Problems } from '../errors.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { toF32 } from '../tensor/convert.js';
import { f32, tensorRef } from '../tensor/refs.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';
import { rowsOf } from './branch.js';
import { tensorName } from './names.js';
import { nearNames } from './near.js';
import type { ModelGraph, Site, Target } from './target.js';

/** Rows of an embedding that are trained and saved in full, beside the method. */
export interface TokenRows {
  readonly target: Target;
  /** Ascending, distinct. */
  readonly indices: readonly number[];
}

/** Token numbers of the model's first embedding, or by the names of embeddings. */
export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>;

/** Graph input of the rows: [tokens, width]. */
export const tokenRowsName = ({ target }: TokenRows): string => tensorName(target.path, 'tokens');

export const tokenRowsSize = ({ target, indices }: TokenRows): number => indices.length * target.out;

/**
 * The rows that a configuration asks for.
 * @param taken what trains a parameter otherwise, by its path
 */
export function tokenRowsOf(
  given: TokenIndices | undefined,
  targets: readonly Target[],
  taken: (target: Target) => boolean,
  problems: Problems,
): TokenRows[] {
  const embeddings = targets.filter(({ kind }) => kind === 'embedding');
  const entries = Array.isArray(given) ? [['', given] as const] : Object.entries(given ?? {});
  const found = new Map<string, TokenRows>();
  for (const [name, list] of entries) {
    const named = embeddings.filter(({ path }) => path === name || path.endsWith(`.${name}`));
    const own = name === '' ? embeddings.slice(0, 1) : named;
    const known = nearNames(
      name,
      embeddings.map(({ path }) => path.slice(path.lastIndexOf('.') + 1)),
    );
    if (own.length === 0)
      problems.add(
        `trainableTokenIndices names "${name}", which is no embedding of the model${known.length > 0 ? ` (near: ${known.join(', ')})` : ''}.`,
      );
    for (const target of own) {
      const indices = [...list].sort((a, b) => a - b);
      const problem = indexProblem(indices, target.in);
      if (problem) problems.add(`trainableTokenIndices of "${target.path}": ${problem}.`);
      if (found.has(target.path)) problems.add(`trainableTokenIndices names "${target.path}" twice.`);
      for (const { path } of sharing(targets, target).filter(taken))
        problems.add(`"${path}" is trained otherwise, so rows of its weight cannot be trained on their own.`);
      found.set(target.path, { target, indices });
    }
  }
  return [...found.values()];
}

/** Targets with this one's weight, itself included: a tied head. */
const sharing = (targets: Iterable<Target>, { path, parameters }: Target): Target[] =>
  [...targets].filter((other) => other.path === path || other.parameters.weight === parameters.weight);

/** The base's own rows: where training begins. [tokens, width] */
export async function baseRows({ target, indices }: TokenRows, table: TensorRef): Promise<Tensor> {
  const data = new Float32Array(indices.length * target.out);
  for (const [k, index] of indices.entries()) {
    const row = toF32(await table.read({ from: index, to: index + 1 }));
    data.set(row.data, k * target.out);
  }
  return f32([indices.length, target.out], data);
}

/** Adds to `changes` what leaves the embedding, and a head tied to it, with the rows in place. */
export function placeTokenRows(
  model: ModelGraph,
  tokens: TokenRows,
  values: ShapedValue,
  changes: Map<string, (y: ShapedValue) => ShapedValue>,
  ops: Ops,
): void {
  const { target, indices } = tokens;
  const places = placesOf(indices, target.in);
  const sites = new Map<Target, Site>([...model.sites.values()].map((site) => [site.target, site]));
  for (const { path } of sharing(sites.keys(), target)) {
    const site = model.sites.get(path)!;
    const before = changes.get(path);
    changes.set(path, (y) => {
      const tensor = (leaf: string, numbers: Tensor) => ops.weight(tensorName(path, leaf), tensorRef(numbers));
      const ids = site.target.kind === 'embedding';
      const set = setRows({ x: rowsOf(site, ops), y, ids, places, count: indices.length, values, tensor }, ops);
      return before ? before(set) : set;
    });
  }
}

/** As it is saved. */
export const tokenRowsTerm = ({ target, indices }: TokenRows, values: Tensor): Term =>
  rowsTerm({ indices: indexRef(indices, target.in), values: tensorRef(values) });

/** The trained rows of an adapter; undefined, and a problem, where it has others. */
export async function resumeRows(
  { target, indices }: TokenRows,
  { delta }: Adapter,
  problems: Problems,
): Promise<Tensor | undefined> {
  const terms = delta.params.get(`${target.path}.weight`) ?? [];
  const term = terms.find(({ kind }) => kind === rows.kind);
  const stored = term && Array.from(numbersOf(await term.tensors.indices!.read()));
  if (terms.length === 1 && `${stored}` === `${indices}`) return toF32(await term!.tensors.values!.read());
  problems.add(
    `it has ${stored ? `rows ${stored}` : 'no rows'} of "${target.path}", this configuration trains ${indices}.`,
  );
  return undefined;
}
