import {
  block,
  f32,
  PeftError,
  scaled,
  sparse,
  type Target,
  type Tensor,
  type Term,
  toF32,
  transposed,
} from '@peftjs/core';
import { spread, type Units, unitsOf } from './units.js';

/** The chosen rows or columns of ΔW, ascending, and their numbers: k × in for rows, out × k for columns. */
export interface SavedBlock {
  readonly indices: readonly number[];
  readonly v: Tensor;
}

const mismatch = (target: Target, problem: string): PeftError =>
  new PeftError(
    'ADAPTER_MISMATCH',
    `s2ft: the update of "${target.path}" ${problem}. Train a new one on top of it with stack(model, [adapter]).`,
  );

/**
 * What a saved update holds: a block, or the single entries that SHIRA files have.
 * @throws PeftError ADAPTER_MISMATCH for an update that is not of whole rows, columns or heads as the role has them
 */
export function savedBlock(term: Term, target: Target): Promise<SavedBlock> {
  const units = unitsOf(target)!;
  return term.kind === block.kind ? fromBlock(term, target, units) : fromEntries(term, target, units);
}

async function fromBlock({ tensors, meta }: Term, target: Target, { axis, count, width }: Units): Promise<SavedBlock> {
  const lies = target.kind === 'conv1d';
  if (meta.axis !== (lies ? 1 - axis : axis))
    throw mismatch(
      target,
      `is of ${axis === 0 ? 'columns' : 'rows'}, and the role ${target.role} trains ${axis === 0 ? 'rows' : 'columns'}`,
    );
  const indices = Array.from((await tensors.indices!.read()).data as ArrayLike<number | bigint>, Number);
  const outside = indices.find((index) => index >= count * width);
  if (outside !== undefined) throw mismatch(target, `has index ${outside}, the base ends before ${count * width}`);
  const own = toF32(await tensors.block!.read());
  const v = lies ? transposed(own) : own;
  return { indices, v: scaled(v, Number(meta.scale)) };
}

/** Units that hold only zeros are none: files are filled up with those. */
async function fromEntries(term: Term, target: Target, units: Units): Promise<SavedBlock> {
  const { axis, width } = units;
  const { indices: flat, values } = await sparse.entries!(term, target.parameters.weight!.shape);
  const [along, across] = axis === 0 ? [target.out, target.in] : [target.in, target.out];
  const inOnePiece = (target.kind === 'conv1d') === (axis === 1); // whether numbers of a line lie side by side
  const lineOf = (at: number) => (inOnePiece ? Math.floor(at / across) : at % along);
  const placeOf = (at: number) => (inOnePiece ? at % across : Math.floor(at / along));

  const changed = new Set<number>();
  values.forEach((value, k) => {
    if (value !== 0) changed.add(Math.floor(lineOf(flat[k]!) / width));
  });
  if (changed.size === 0) throw mismatch(target, 'holds only zeros, which do not say what was chosen');
  const indices = spread([...changed], units);
  const rank = new Map(indices.map((index, k) => [index, k]));
  const v = new Float32Array(indices.length * across);
  let found = 0;
  values.forEach((value, k) => {
    const own = rank.get(lineOf(flat[k]!));
    if (own === undefined) return;
    const place = placeOf(flat[k]!);
    v[axis === 0 ? own * across + place : place * indices.length + own] = value;
    found++;
  });
  if (found < v.length)
    throw mismatch(
      target,
      `has ${found} of the ${v.length} numbers in the ${axis === 0 ? 'rows' : 'columns'} that it changes`,
    );
  return { indices, v: f32(axis === 0 ? [indices.length, across] : [across, indices.length], v) };
}
