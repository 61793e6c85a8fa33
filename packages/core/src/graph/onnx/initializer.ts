import { bitsOf, fromBytes, isFloat } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { type External, externalOf, refuseExternal } from './external.js';
import type { TensorProto } from './onnx_pb.gen.js';
import { decodeTensor, inlineBytes, isExternal, tensorHeader } from './tensor.js';

export type Header = Pick<TensorRef, 'dtype' | 'shape'>;

export interface WeightSources {
  /** The reference of a tensor that lies outside the model; absent, such a model is refused. */
  readonly external?: (name: string, where: External, header: Header) => TensorRef;
  /** The reference of a weight at `offset` of the model's own bytes; absent, it is held in memory. */
  readonly inside?: (offset: number, header: Header) => TensorRef;
}

/**
 * Extents, axes, indices and scalars are constants, which passes may look into; everything else is a weight. Decided by
 * type and rank alone, so that a model reads alike whatever its sizes.
 */
export const isConstant = ({ dtype, shape }: Header): boolean =>
  shape.length === 0 || (shape.length === 1 && !isFloat(dtype) && bitsOf(dtype) >= 32);

/** @param start where the model's bytes begin in the buffer that `proto` is a view of */
export function readInitializer(proto: TensorProto, sources: WeightSources, start: number): Tensor | TensorRef {
  const header = tensorHeader(proto);
  if (isExternal(proto)) {
    const where = externalOf(proto);
    return sources.external?.(proto.name, where, header) ?? refuseExternal(proto.name, where);
  }
  if (isConstant(header)) return decodeTensor(proto);
  const { dtype, shape, bytes } = inlineBytes(proto);
  if (sources.inside && proto.rawData?.length) return sources.inside(bytes.byteOffset - start, { dtype, shape });
  return tensorRef(fromBytes(dtype, shape, bytes.slice())); // a copy: a view would hold the whole file
}
