import { PeftError } from '../../errors.js';
import { type ByteSource, fileSource } from '../../files/source.js';
import { fromBytes } from '../../tensor/dtype.js';
import { rowRange } from '../../tensor/refs.js';
import type { DType, TensorRef } from '../../tensor/tensor.js';
import { MoreBytes } from './cursor.js';
import { type GgufHeader, readHeader, type TensorInfo } from './header.js';
import type { GgufValue } from './types.js';

/** A GGUF file: its metadata and its tensors, of which the plain ones can be read. */
export interface GgufFile {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the data, shapes row-major. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

export interface GgufTensor {
  readonly shape: readonly number[];
  /** ggml's name of the type: F32, F16, Q4_K, ... */
  readonly type: string;
  readonly bytes: number;
  /** Absent for quantised types. */
  readonly ref?: TensorRef;
}

/** What is read first: adapters and most models have shorter headers. */
const firstBytes = 2 ** 20;
/** No header is as long; a vocabulary takes a few megabytes. */
const maxHeaderBytes = 2 ** 28;

/**
 * Opens a GGUF file: reads and checks the header, and nothing of the data.
 * @throws PeftError FILE_MISSING, FILE_INVALID with everything that is wrong
 */
export async function openGguf(input: string | ByteSource): Promise<GgufFile> {
  const source = typeof input === 'string' ? await fileSource(input) : input;
  const { metadata, tensors } = await headerOf(source);
  return { metadata, tensors: new Map(tensors.map((info) => [info.name, tensorOf(source, info)])) };
}

async function headerOf(source: ByteSource): Promise<GgufHeader> {
  for (let length = firstBytes; ; length *= 2) {
    const bytes = await source.read(0, Math.min(length, source.size));
    try {
      return readHeader(bytes, source.size, source.name);
    } catch (error) {
      if (!(error instanceof MoreBytes)) throw error;
      if (error.needed > maxHeaderBytes)
        throw new PeftError('FILE_INVALID', `${source.name} has a header of more than ${maxHeaderBytes} bytes.`);
      while (length * 2 < error.needed) length *= 2;
    }
  }
}

function tensorOf(source: ByteSource, { shape, type, bytes, offset }: TensorInfo): GgufTensor {
  const facts = { shape, type: type.name, bytes };
  return type.dtype ? { ...facts, ref: refOf(source, type.dtype, shape, offset, bytes) } : facts;
}

const refOf = (
  source: ByteSource,
  dtype: DType,
  shape: readonly number[],
  offset: number,
  bytes: number,
): TensorRef => ({
  dtype,
  shape,
  ...(source.path !== undefined && { file: { path: source.path, offset, bytes } }),
  async read({ signal, ...rows } = {}) {
    const { shape: part, byteFrom, byteTo } = rowRange(dtype, shape, rows);
    return fromBytes(dtype, part, await source.read(offset + byteFrom, offset + byteTo, signal ? { signal } : {}));
  },
});
