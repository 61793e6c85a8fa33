import type { Adapter, Entries, Term } from '../../delta/delta.js';
import { read2d, scaleOf } from '../../delta/kinds/common.js';
import { indexRef } from '../../delta/kinds/indices.js';
import { lowRank } from '../../delta/kinds/low-rank.js';
import { Problems } from '../../errors.js';
import { toF32 } from '../../tensor/convert.js';
import { elementCount } from '../../tensor/dtype.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { completeConfig, ownConfig, targetRules } from '../common/describe.js';
import { entriesOf, linearWeights, type MatrixTerms, padded } from '../common/entries.js';
import { fullModules } from '../common/full.js';
import { partKey } from '../common/keys.js';
import type { LayoutFiles, LayoutWriteOptions } from '../layout.js';
import { entriesLeft, supertuningFormat, supertuningParts } from './format.js';

interface Held extends MatrixTerms {
  readonly entries: Entries;
  readonly factors: Term | undefined;
}

/**
 * An adapter as a SUPERTUNING folder: single entries and factors of one scale together. PEFT wants the same share of every
 * module's entries and one rank, so free places and missing ranks are filled with zeros. See `Layout.write`.
 */
export async function writeSupertuning(adapter: Adapter, options: LayoutWriteOptions): Promise<LayoutFiles> {
  const problems = new Problems();
  const held: Held[] = [];
  for (const weight of linearWeights(adapter, options, problems)) {
    const made = await split(weight, options);
    if (typeof made === 'string') problems.add(`"${weight.module}.weight" ${made}.`);
    else held.push({ ...weight, ...made });
  }
  const scales = new Set(held.flatMap(({ factors }) => (factors ? [scaleOf(factors)] : [])));
  if (scales.size > 1)
    problems.add(`its factors have the scales ${[...scales].join(', ')}; the layout has one for all modules.`);
  const paths = held.map(({ module }) => module);
  const given = ownConfig(adapter, 'SUPERTUNING');
  const sparsity = sparsityOf(held, given.sparsity);
  const full = fullModules(adapter, new Set(paths), given, problems);
  problems.throwIfAny('DELTA_CONFLICT', 'The SUPERTUNING layout cannot hold this adapter');

  const r = held.reduce((most, { factors }) => Math.max(most, rankOf(factors)), 0);
  const tensors = new Map<string, TensorRef>(full.tensors);
  const shapes = new Map<string, readonly number[]>();
  for (const { module, shape, entries, factors } of held) {
    const size = elementCount(shape);
    const { indices, values } = padded(entries, entriesLeft(size, sparsity));
    tensors.set(partKey(module, supertuningParts.indices), indexRef(indices, size));
    tensors.set(partKey(module, supertuningParts.values), tensorRef(f32([values.length], values)));
    shapes.set(`${module}.weight`, shape);
    if (r === 0) continue;
    const { a, b } = await toRank(factors, r, shape);
    tensors.set(partKey(module, supertuningParts.a), a);
    tensors.set(partKey(module, supertuningParts.b), b);
  }
  const [scale = 1] = scales;
  const config = completeConfig(adapter, 'SUPERTUNING', {
    ...supertuningFormat.defaults,
    ...given,
    lora_alpha: r > 0 ? scale * r : null,
    modules_to_save: full.modules,
    r: r > 0 ? r : null,
    save_precomputed_indices: true,
    sparsity,
    target_modules: targetRules(paths, given).target_modules,
  });
  return { config, tensors, shapes };
}

/** The factors of a weight as one term, and all that it changes beside them. */
async function split({ terms, shape }: MatrixTerms, { kinds }: LayoutWriteOptions) {
  const low = terms.filter(({ kind }) => kind === lowRank.kind);
  const entries = await entriesOf(
    terms.filter(({ kind }) => kind !== lowRank.kind),
    shape,
    kinds,
  );
  if (typeof entries === 'string')
    return `has an update of kind ${entries}; the layout holds single entries and low-rank ones`;
  return { entries, factors: low.length > 1 ? await lowRank.add!(low, shape) : low[0] };
}

/** The given sparsity where it is true, else the largest that leaves every module room for its entries, and one at least. */
function sparsityOf(held: readonly Held[], given: unknown): number {
  const numel = ({ shape }: Held) => elementCount(shape);
  const needed = ({ entries }: Held) => Math.max(1, entries.values.length);
  if (typeof given === 'number' && held.every((one) => entriesLeft(numel(one), given) === one.entries.values.length))
    return given;
  const density = held.reduce((most, one) => Math.max(most, needed(one) / numel(one)), 0);
  let sparsity = Math.max(0, 1 - density);
  // The product is rounded: a little less where it falls short of a whole number.
  for (
    let step = 2 ** -52;
    held.some((one) => entriesLeft(numel(one), sparsity) < needed(one)) && sparsity > 0;
    step *= 2
  )
    sparsity = Math.max(0, 1 - density - step);
  return sparsity;
}

const rankOf = (factors: Term | undefined): number => factors?.tensors.a?.shape[0] ?? 0;

/** Factors with zeros up to a rank; all zeros where there are none. */
async function toRank(term: Term | undefined, r: number, [out, inside]: readonly [number, number]) {
  if (term && rankOf(term) === r) return { a: term.tensors.a!, b: term.tensors.b! };
  const [a, b] = [new Float32Array(r * inside), new Float32Array(out * r)];
  if (term) {
    const own = rankOf(term);
    a.set(toF32(await read2d(term, 'a')).data);
    const { data } = toF32(await read2d(term, 'b'));
    for (let o = 0; o < out; o++) b.set(data.subarray(o * own, (o + 1) * own), o * r);
  }
  return { a: tensorRef(f32([r, inside], a)), b: tensorRef(f32([out, r], b)) };
}
