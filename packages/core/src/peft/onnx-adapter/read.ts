import { PeftError, Problems } from '../../errors.js';
import { nonFinite } from '../../files/non-finite.js';
import { type ByteSource, fileSource } from '../../files/source.js';
import { onnxDType } from '../../graph/onnx/types.js';
import { byteLength, fromBytes } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { rootTable, type Table } from './flatbuffer.js';
import { adapterFields, formatVersion, identifier, maxBytes, parameterFields } from './format.js';

/** A file of ONNX Runtime's LoRA parameters: values of graph inputs, by their names. */
export interface OnnxAdapterFile {
  /** Numbers that its maker gives; ONNX Runtime compares them with nothing. */
  readonly adapterVersion: number;
  readonly modelVersion: number;
  readonly parameters: ReadonlyMap<string, TensorRef>;
  /** What is allowed but unusual. */
  readonly warnings: readonly string[];
}

/**
 * Reads an .onnx_adapter file. Stricter than ONNX Runtime where a file could mean two things: a name twice, no name.
 * @throws PeftError FILE_MISSING, FILE_INVALID with everything that is wrong
 */
export async function openOnnxAdapter(input: string | ByteSource): Promise<OnnxAdapterFile> {
  const source = typeof input === 'string' ? await fileSource(input) : input;
  if (source.size > maxBytes)
    throw new PeftError('FILE_INVALID', `${source.name} has ${source.size} bytes; the format ends at 2 GiB.`);
  const root = rootTable(await source.read(0, source.size), identifier, source.name);
  const version = root.int(adapterFields.formatVersion);
  if (version !== formatVersion)
    throw new PeftError('FILE_INVALID', `${source.name} is of version ${version}; ${formatVersion} is read.`);
  const parameters = readParameters(root.tables(adapterFields.parameters) ?? [], source.name);
  return {
    adapterVersion: root.int(adapterFields.adapterVersion),
    modelVersion: root.int(adapterFields.modelVersion),
    parameters,
    warnings: (await nonFinite(parameters)).map(
      ({ name, count, index }) => `"${name}" has ${count} values that are NaN or infinite, the first at ${index}.`,
    ),
  };
}

/** As many problems as are listed one by one. */
const maxReported = 20;

function readParameters(tables: readonly Table[], subject: string): Map<string, TensorRef> {
  const problems = new Problems();
  const parameters = new Map<string, TensorRef>();
  for (const [i, table] of tables.entries()) {
    const name = table.string(parameterFields.name);
    const read = readParameter(table);
    if (!name) problems.add(`parameter ${i} has no name.`);
    else if (parameters.has(name)) problems.add(`it has the parameter ${JSON.stringify(name.slice(0, 80))} twice.`);
    else if (typeof read === 'string') problems.add(`parameter ${JSON.stringify(name.slice(0, 80))} ${read}.`);
    else parameters.set(name, read);
    if (problems.list.length >= maxReported) break;
  }
  if (tables.length === 0) problems.add('it has no parameters.');
  problems.throwIfAny('FILE_INVALID', `${subject} is not a valid .onnx_adapter file`);
  return parameters;
}

/** The tensor, or what is wrong with it. */
function readParameter(table: Table): TensorRef | string {
  const code = table.int(parameterFields.dataType);
  const dtype = onnxDType(code);
  const dims = table.longs(parameterFields.dims);
  const bytes = table.bytes(parameterFields.rawData);
  if (!dtype) return `has the element type ${code}, which is not read`;
  if (!dims) return 'has no dims';
  if (!bytes) return 'has no data';
  const shape = dims.map(Number);
  try {
    if (byteLength(dtype, shape) !== bytes.length)
      return `is ${dtype} [${dims}], which takes ${byteLength(dtype, shape)} bytes, but has ${bytes.length}`;
  } catch {
    return `claims the shape [${dims}]`;
  }
  return tensorRef(fromBytes(dtype, shape, bytes));
}
