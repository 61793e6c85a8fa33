import { Problems } from '../errors.js';
import { cast, toF32 } from '../tensor/convert.js';
import { elementCount } from '../tensor/dtype.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';
import { keepZero } from './additive.js';
import type { Adapter, Delta, Term } from './delta.js';
import { copyOf, sameExtents } from './kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from './registry.js';

export type Parameters = ReadonlyMap<string, TensorRef>;

export interface ApplyOptions {
  readonly kinds?: Kinds;
}

/** Parameters with an adapter in them, and the bits they had before. */
export interface Merged {
  readonly parameters: Parameters;
  /** The base's own references of everything that changed: putting them back is exact. */
  readonly pristine: Parameters;
}

/**
 * The parameters with the update in them. Lazy: a parameter is read and added to when it is asked for, and those the
 * delta does not name are the same references as before. Terms act in their order; additive ones beside each other are
 * summed first. float32 arithmetic, rounded once to the base's own dtype, to nearest, ties to even. Rows of a merged
 * parameter cost the whole ΔW of it, and all of W where a term is not additive.
 * @throws PeftError ADAPTER_MISMATCH listing every parameter that is absent or has another shape
 */
export function applyDelta(parameters: Parameters, delta: Delta, options: ApplyOptions = {}): Parameters {
  const { kinds = builtinKinds } = options;
  const problems = new Problems();
  const merged = new Map(parameters);
  // One list of terms on one reference under two names (a tied head) gives one reference again.
  const made = new Map<readonly Term[], { readonly base: TensorRef; readonly ref: TensorRef }>();
  for (const [path, terms] of delta.params) {
    const base = parameters.get(path);
    if (!base && keepZero(terms, kinds)) continue;
    if (!base) problems.add(`the base has no parameter "${path}".`);
    else if (!floats.has(base.dtype)) problems.add(`"${path}" is stored as ${base.dtype}: only floats can be changed.`);
    else {
      for (const problem of misfits(delta, path, base.shape, kinds)) problems.add(`"${path}": ${problem}.`);
      const known = made.get(terms);
      const ref = known?.base === base ? known.ref : changed(base, terms, kinds);
      made.set(terms, { base, ref });
      merged.set(path, ref);
    }
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The update does not fit these parameters');
  return merged;
}

/** What is wrong with the terms of a parameter where it has this shape: single entries fit many, so its own is asked too. */
export function misfits({ shape, params }: Delta, path: string, base: readonly number[], kinds: Kinds): string[] {
  const own = shape.get(path);
  if (own && !sameExtents(own, base)) return [`its update is one of [${own}], the base has [${base}]`];
  return params.get(path)!.flatMap((term) => kindOf(term, kinds).problems(term, base));
}

/** The same for an adapter: replaced parameters first, its delta on top of them. */
export function applyAdapter(parameters: Parameters, adapter: Adapter, options: ApplyOptions = {}): Merged {
  const problems = new Problems();
  const replaced = new Map(parameters);
  for (const [path, ref] of adapter.replaced) {
    const base = parameters.get(path);
    if (!base) problems.add(`the base has no parameter "${path}".`);
    else if (!sameExtents(base.shape, ref.shape))
      problems.add(`"${path}" is [${base.shape}] in the base and [${ref.shape}] in the adapter.`);
    else replaced.set(path, base.dtype === ref.dtype ? ref : castRef(ref, base));
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit these parameters');
  const merged = applyDelta(replaced, adapter.delta, options);
  const pristine = new Map<string, TensorRef>();
  for (const [path, ref] of parameters) if (merged.get(path) !== ref) pristine.set(path, ref);
  return { parameters: merged, pristine };
}

/** Undoes `applyAdapter`, bit for bit. */
export const unapply = ({ parameters, pristine }: Merged): Parameters => new Map([...parameters, ...pristine]);

const floats = new Set(['f64', 'f32', 'f16', 'bf16']);

function changed(base: TensorRef, terms: readonly Term[], kinds: Kinds): TensorRef {
  const [rows = 1] = base.shape;
  const runs = runsOf(terms, kinds);
  const additive = runs.every(({ apply }) => apply === undefined);
  return {
    dtype: base.dtype,
    shape: base.shape,
    async read(range = {}) {
      const { from = 0, to = rows } = range;
      const row = elementCount(base.shape) / rows;
      // A sum needs these rows of W alone; what is not a sum may need all of them (norms over columns).
      const w = await base.read(additive ? range : {});
      let y: Numbers = w.dtype === 'f64' ? { ...w, data: w.data.slice() as Float64Array } : copyOf(toF32(w));
      for (const { sum, apply } of runs) {
        if (apply) y = (await apply(y, base.shape)) as Numbers;
        else await addTo(y.data, sum, base.shape, { kinds, start: additive ? row * from : 0 });
      }
      const shape = base.shape.length > 0 ? [to - from, ...base.shape.slice(1)] : [];
      const data = additive ? y.data : y.data.subarray(row * from, row * to);
      return cast({ dtype: y.dtype, shape, data }, base.dtype);
    },
  };
}

type Numbers = Tensor & { readonly data: Float32Array | Float64Array };

/** Additive terms beside each other, or one that is not. */
interface TermRun {
  readonly sum: readonly Term[];
  apply?(weight: Tensor, shape: readonly number[]): Promise<Tensor>;
}

function runsOf(terms: readonly Term[], kinds: Kinds): TermRun[] {
  const runs: TermRun[] = [];
  for (const term of terms) {
    const kind = kindOf(term, kinds);
    const last = runs.at(-1);
    if (kind.apply) runs.push({ sum: [], apply: (weight, shape) => kind.apply!(weight, term, shape) });
    else if (last && !last.apply) runs[runs.length - 1] = { sum: [...last.sum, term] };
    else runs.push({ sum: [term] });
  }
  return runs;
}

/** y += Σ ΔW, the sum in double precision; y holds the elements from `start` on. */
async function addTo(
  y: Float32Array | Float64Array,
  terms: readonly Term[],
  shape: readonly number[],
  { kinds, start }: { readonly kinds: Kinds; readonly start: number },
): Promise<void> {
  const sum = new Float64Array(y.length);
  for (const term of terms) {
    const d = toF32(await kindOf(term, kinds).dense(term, shape)).data;
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + d[start + i]!;
  }
  for (let i = 0; i < y.length; i++) y[i] = y[i]! + sum[i]!;
}

/** A replacement in the dtype of what it replaces. */
const castRef = (ref: TensorRef, base: TensorRef): TensorRef => ({
  dtype: base.dtype,
  shape: ref.shape,
  read: async (range) => cast(await ref.read(range), base.dtype),
});
