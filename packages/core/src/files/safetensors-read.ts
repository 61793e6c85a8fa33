import { PeftError } from '../errors.js';
import { fromBytes } from '../tensor/dtype.js';
import { rowRange } from '../tensor/refs.js';
import type { TensorRef } from '../tensor/tensor.js';
import { recognise, recogniseBytes } from './recognise.js';
import { lengthBytes, maxHeaderBytes } from './safetensors-format.js';
import { type HeaderEntry, readHeader } from './safetensors-header.js';
import { type ByteSource, fileSource } from './source.js';

/** Named tensors that are read when they are asked for. */
export interface WeightFile {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the data. References of files carry `file`. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** What is allowed but unusual. */
  readonly warnings: readonly string[];
  /** Reads after it fail. Nothing else is held: without it no resource stays open. */
  close(): Promise<void>;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** A tensor inside a source. @param start where its bytes begin, from the start of the source. */
function refOf(source: ByteSource, { name, dtype, shape, begin, end }: HeaderEntry, dataStart: number): TensorRef {
  const offset = dataStart + begin;
  return {
    dtype,
    shape,
    ...(source.path === undefined ? {} : { file: { path: source.path, offset, bytes: end - begin } }),
    async read(options = {}) {
      const { shape: part, byteFrom, byteTo } = rowRange(dtype, shape, options);
      const { signal } = options;
      const bytes = await source.read(offset + byteFrom, offset + byteTo, signal ? { signal } : {});
      if (dtype === 'bool' && bytes.some((byte) => byte > 1)) {
        const problem = `Tensor '${name}' of ${source.name} is bool but has bytes other than 0 and 1.`;
        throw new PeftError('FILE_INVALID', problem, { details: { tensor: name } });
      }
      return fromBytes(dtype, part, bytes);
    },
  };
}

/** The header's length, checked against the limit and the file before a byte of it is read. */
function headerBytes(head: Uint8Array, { size, name }: ByteSource): number {
  const fail = (problem: string): never => {
    const advice = recognise(head) ?? 'It is damaged, cut off, or of another format.';
    throw new PeftError('FILE_INVALID', `${name} is not a safetensors file: ${problem}. ${advice}`);
  };
  if (size < lengthBytes) return fail(`it has ${size} bytes, less than the ${lengthBytes} of a header's length`);
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    return fail(`its header would have ${length} bytes; the limit is ${maxHeaderBytes}`);
  if (length > BigInt(size - lengthBytes))
    return fail(`its header would have ${length} bytes, more than the whole file`);
  if (length < 2n) return fail(`its header would have ${length} bytes; the shortest, {}, has two`);
  return Number(length);
}

/**
 * Opens a safetensors file: reads and checks the header, and nothing of the data. The check is stricter than the
 * official reader's where a file could mean two things (a name twice, white space in front, positional entries).
 * @throws PeftError FILE_MISSING, FILE_INVALID with everything that is wrong.
 */
export async function openSafetensors(input: string | ByteSource, options: ReadOptions = {}): Promise<WeightFile> {
  const source = typeof input === 'string' ? await fileSource(input) : input;
  const head = await source.read(0, Math.min(source.size, recogniseBytes), options);
  const length = headerBytes(head, source);
  const dataStart = lengthBytes + length;
  const text = await source.read(lengthBytes, dataStart, options);
  const { metadata, entries, warnings } = readHeader(text, source.size - dataStart, source.name);
  return {
    metadata,
    tensors: new Map(entries.map((entry) => [entry.name, refOf(source, entry, dataStart)])),
    warnings,
    close: () => source.close(),
  };
}
