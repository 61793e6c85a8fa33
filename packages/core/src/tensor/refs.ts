import { PeftError } from '../errors.js';
import { bitsOf, byteLength, bytesOf, checkTensor, elementCount, fromBytes } from './dtype.js';
import type { DType, Tensor, TensorRef, TypedArray } from './tensor.js';

/** A tensor of checked data. @throws PeftError CONFIG_INVALID when dtype, shape and data disagree. */
export const tensor = (dtype: DType, shape: readonly number[], data: TypedArray): Tensor =>
  checkTensor({ dtype, shape, data });

/** A float32 tensor of any numbers. */
export const f32 = (shape: readonly number[], values: ArrayLike<number>): Tensor & { readonly data: Float32Array } =>
  tensor('f32', shape, values instanceof Float32Array ? values : Float32Array.from(values)) as Tensor & {
    data: Float32Array;
  };

/** A float32 tensor of zeros. */
export const zeros = (shape: readonly number[]) => f32(shape, new Float32Array(elementCount(shape)));

/** Rows of the first axis, checked, with the bytes they take. */
export interface RowRange {
  readonly shape: readonly number[];
  readonly byteFrom: number;
  readonly byteTo: number;
}

/** Bits of one row of the first axis; 0 for an empty tensor, whose rows may be beyond any limit. */
const rowBits = (dtype: DType, [rows = 1, ...rest]: readonly number[]): number =>
  elementCount([rows, ...rest]) === 0 ? 0 : elementCount(rest) * bitsOf(dtype);

/**
 * @param rows `from` (inclusive, default 0) to `to` (exclusive, default all) of the first axis.
 * @throws PeftError CONFIG_INVALID when the tensor has no such rows, or when packed rows begin or end inside a byte.
 */
export function rowRange(
  dtype: DType,
  shape: readonly number[],
  { from, to }: { from?: number; to?: number },
): RowRange {
  if (from === undefined && to === undefined) return { shape, byteFrom: 0, byteTo: byteLength(dtype, shape) };
  const [rows, ...rest] = shape;
  const first = from ?? 0;
  const last = to ?? rows ?? 0;
  const exact = Number.isInteger(first) && Number.isInteger(last);
  if (rows === undefined || !exact || first < 0 || first > last || last > rows) {
    const problem = `Rows ${first} to ${last} do not exist in a tensor of shape [${shape}].`;
    throw new PeftError('CONFIG_INVALID', problem);
  }
  const part = [last - first, ...rest];
  const bits = rowBits(dtype, shape) % 8;
  const onByte = (row: number) => ((row % 8) * bits) % 8 === 0;
  if (!onByte(first) || !(onByte(last) || last === rows)) {
    const problem = `Rows ${first} to ${last} of a packed ${dtype} tensor of shape [${shape}] do not begin or end on a byte; read it whole.`;
    throw new PeftError('CONFIG_INVALID', problem);
  }
  const byteFrom = byteLength(dtype, [first, ...rest]);
  const byteTo = byteFrom + byteLength(dtype, part);
  return { shape: part, byteFrom, byteTo };
}

/** A tensor in memory as a reference; what is read is a view of it. */
export function tensorRef(source: Tensor): TensorRef {
  const { dtype, shape } = checkTensor(source);
  return {
    dtype,
    shape,
    async read(options = {}) {
      options.signal?.throwIfAborted();
      if (options.from === undefined && options.to === undefined) return source;
      const { shape: part, byteFrom, byteTo } = rowRange(dtype, shape, options);
      return fromBytes(dtype, part, bytesOf(source).subarray(byteFrom, byteTo));
    },
  };
}

/**
 * The tensor in pieces of whole rows, in order, so that one larger than memory can be streamed. A scalar, a tensor with
 * few bytes and one whose packed rows do not begin on a byte come in one piece.
 * @param options.maxBytes upper bound of a piece (a single row may exceed it); default 64 MiB.
 */
export async function* readInPieces(
  ref: TensorRef,
  options: { maxBytes?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Tensor, void, void> {
  const { maxBytes = 2 ** 26, signal } = options;
  const [rows = 1, ...rest] = ref.shape;
  const rowBytes = rowBits(ref.dtype, ref.shape) / 8;
  if (rest.length === ref.shape.length || rows * rowBytes <= maxBytes || !Number.isInteger(rowBytes)) {
    yield await ref.read(signal ? { signal } : {});
    return;
  }
  const step = Math.max(1, Math.floor(maxBytes / rowBytes));
  for (let from = 0; from < rows; from += step)
    yield await ref.read({ from, to: Math.min(rows, from + step), ...(signal ? { signal } : {}) });
}
