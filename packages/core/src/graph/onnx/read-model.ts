import { platform } from '#platform';
import { PeftError } from '../../errors.js';
import { isWithin } from '../../files/atomic.js';
import { type ByteSource, fileSource } from '../../files/source.js';
import { byteLength, fromBytes } from '../../tensor/dtype.js';
import { rowRange } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { Graph } from '../graph.js';
import { buildGraph, parseModel } from './decode.js';
import { type External, externalOf } from './external.js';
import type { Header } from './initializer.js';
import type { ModelProto } from './onnx_pb.gen.js';
import { isExternal } from './tensor.js';

/** A protobuf message ends at 2 GiB. */
const maxBytes = 2 ** 31;

/**
 * Reads an ONNX model. Its weights become references into the file and into those that lie beside it; nothing outside
 * the model's own folder is ever opened.
 * @throws PeftError FILE_MISSING; FILE_INVALID with everything that is wrong; MODEL_UNSUPPORTED (see decodeModel)
 */
export async function readModel(path: string): Promise<Graph> {
  const source = await fileSource(path);
  if (source.size > maxBytes)
    throw new PeftError('FILE_INVALID', `${source.name} has ${source.size} bytes; an ONNX model has less than 2 GB.`);
  const bytes = await source.read(0, source.size);
  const model = parseModel(bytes);
  const files = await openExternal(model, source);
  return buildGraph(
    model,
    {
      inside: (offset, header) => rangeRef(source, offset, header),
      external: (name, where, header) => {
        const file = files.get(where.location)!;
        if (typeof file === 'string') throw new PeftError('FILE_INVALID', `External tensor "${name}": ${file}`);
        return rangeRef(file, inRange(name, where, file), header);
      },
    },
    bytes.byteOffset,
  );
}

/** The files that a model names, each opened once: a source, or what is wrong with it. */
async function openExternal(model: ModelProto, source: ByteSource): Promise<Map<string, ByteSource | string>> {
  const files = new Map<string, ByteSource | string>();
  for (const tensor of model.graph?.initializer ?? []) {
    const location = isExternal(tensor) ? locationOf(() => externalOf(tensor)) : undefined;
    if (location !== undefined && !files.has(location)) files.set(location, await openBeside(source.path!, location));
  }
  return files;
}

/** Undefined where the entries are faulty: reading the tensor itself says so. */
function locationOf(read: () => External): string | undefined {
  try {
    return read().location;
  } catch {
    return undefined;
  }
}

/**
 * A file in the folder of a model, links resolved: in the folder as it was named, or in the one that the model itself
 * really lies in (stores that link every file of a model into one folder).
 */
async function openBeside(model: string, location: string): Promise<ByteSource | string> {
  const named = platform.resolve(platform.parent(model), ...location.split('/'));
  if (!(await platform.entry(named))) return `"${location}" does not exist beside the model`;
  const [real, realModel] = [await platform.realPath(named), await platform.realPath(model)];
  const folders = [await platform.realPath(platform.parent(model)), platform.parent(realModel)];
  if (!folders.some((folder) => isWithin(real, folder))) return `"${location}" is a link out of the model's folder`;
  if (real === realModel) return `"${location}" is the model itself`;
  try {
    return await fileSource(real);
  } catch (error) {
    return (error as Error).message;
  }
}

function inRange(name: string, { location, offset, length }: External, file: ByteSource): number {
  if (offset + length <= file.size) return offset;
  throw new PeftError(
    'FILE_INVALID',
    `External tensor "${name}" takes bytes ${offset} to ${offset + length} of "${location}", which has ${file.size}.`,
  );
}

const rangeRef = (source: ByteSource, offset: number, { dtype, shape }: Header): TensorRef => ({
  dtype,
  shape,
  ...(source.path !== undefined && { file: { path: source.path, offset, bytes: byteLength(dtype, shape) } }),
  async read({ signal, ...rows } = {}) {
    const { shape: part, byteFrom, byteTo } = rowRange(dtype, shape, rows);
    return fromBytes(dtype, part, await source.read(offset + byteFrom, offset + byteTo, signal ? { signal } : {}));
  },
});
