import type { Adapter, Entries, Term } from '../../delta/delta.js';
import { indexProblem, indexRef, numbersOf } from '../../delta/kinds/indices.js';
import { sparseTerm, unionOf } from '../../delta/kinds/sparse.js';
import { type Kinds, kindOf } from '../../delta/registry.js';
import type { Problems } from '../../errors.js';
import { toF32 } from '../../tensor/convert.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { LayoutWriteOptions } from '../layout.js';

/** A linear layer's weight with the terms on it. */
export interface MatrixTerms {
  readonly module: string;
  readonly shape: readonly [number, number];
  readonly terms: readonly Term[];
}

/** The weights of linear layers that an adapter changes, for layouts that know nothing else. */
export function linearWeights({ delta }: Adapter, { base }: LayoutWriteOptions, problems: Problems): MatrixTerms[] {
  const found: MatrixTerms[] = [];
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    const module = path.endsWith('.weight') ? path.slice(0, -'.weight'.length) : undefined;
    const target = base?.targets?.find((one) => one.path === module);
    const turned = terms.some(({ meta }) => meta.transposed === true);
    if (module === undefined || shape.length !== 2)
      problems.add(`"${path}" [${shape}] is no weight of a linear layer.`);
    else if (turned || (target && target.kind !== 'linear'))
      problems.add(
        `"${path}" belongs to ${target?.kind ?? 'a module whose weight lies as (in, out)'}, not to a linear layer.`,
      );
    else found.push({ module, shape: shape as readonly [number, number], terms });
  }
  if (found.length === 0) problems.add('it changes no weight.');
  return found;
}

/** What terms change entry by entry, or the kind that does not say it. */
export async function entriesOf(
  terms: readonly Term[],
  shape: readonly number[],
  kinds: Kinds,
): Promise<Entries | string> {
  const parts: Entries[] = [];
  for (const term of terms) {
    const entries = await kindOf(term, kinds).entries?.(term, shape);
    if (!entries) return term.kind;
    parts.push(entries);
  }
  return parts.length === 1 ? parts[0]! : unionOf(parts);
}

/** The same with `count` entries: the first free places hold zeros. */
export function padded({ indices, values }: Entries, count: number): Entries {
  const out = { indices: new Float64Array(count), values: new Float32Array(count) };
  let [free, spare] = [0, count - values.length];
  for (let i = 0, k = 0; i < count; i++) {
    // Places before the next own index are free.
    if (k < values.length && (spare === 0 || free === indices[k]!)) {
      out.indices[i] = indices[k]!;
      out.values[i] = values[k]!;
      free = indices[k]! + 1;
      k++;
    } else {
      out.indices[i] = free++;
      spare--;
    }
  }
  return out;
}

/** A sparse term of indices in any order, with what is wrong with them. */
export async function sparseFrom(
  flat: ArrayLike<number>,
  values: TensorRef,
  size: number,
): Promise<{ readonly term: Term } | { readonly problem: string }> {
  const order = Uint32Array.from(flat, (_, k) => k);
  const ascending = indexProblem(flat, size) === undefined;
  if (!ascending) order.sort((a, b) => flat[a]! - flat[b]!);
  const indices = Float64Array.from(order, (k) => flat[k]!);
  const problem = indexProblem(indices, size);
  if (problem) return { problem };
  if (ascending) return { term: sparseTerm({ indices: indexRef(indices, size), values }) };
  const { data } = toF32(await values.read());
  const sorted = f32(
    [order.length],
    Float32Array.from(order, (k) => data[k]!),
  );
  return { term: sparseTerm({ indices: indexRef(indices, size), values: tensorRef(sorted) }) };
}

/** Integers of a file as numbers. */
export const readNumbers = async (ref: TensorRef): Promise<ArrayLike<number>> => numbersOf(await ref.read());
