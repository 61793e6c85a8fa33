import { platform } from '#platform';
import { writeFileAtomic } from '../../files/atomic.js';
import { cast } from '../../tensor/convert.js';
import { byteLength, bytesOf } from '../../tensor/dtype.js';
import { readInPieces } from '../../tensor/refs.js';
import type { DType, TensorRef } from '../../tensor/tensor.js';
import type { Graph } from '../graph.js';
import { encodeModel, weightValue } from './encode.js';
import type { External } from './external.js';

export interface WriteModelOptions {
  /** Bytes of weights above which they go into a file beside the model. Default 256 MiB; 0 puts all there. */
  readonly externalAbove?: number;
  readonly signal?: AbortSignal;
}

/** Weights begin on memory pages, so that runtimes can map each by itself. */
const page = 4096;

interface Placed {
  readonly ref: TensorRef;
  readonly dtype: DType;
  readonly where: External;
}

/**
 * Writes a graph as an ONNX model, all in one file or, when its weights are big, with these in `NAME.data` beside it.
 * Each file is replaced as a whole and the model last: readers see the old model or the new one, except that between the
 * two renames an old model of this name would find new weights.
 * @throws PeftError FILE_UNWRITABLE, GRAPH_INVALID
 */
export async function writeModel(path: string, graph: Graph, options: WriteModelOptions = {}): Promise<void> {
  const { externalAbove = 2 ** 28, signal } = options;
  const all = place(graph, `${platform.base(path)}.data`);
  const bytes = [...all.values()].reduce((sum, { where }) => sum + where.length, 0);
  const outside = bytes > externalAbove ? all : new Map<string, Placed>();
  // Before a file is touched: the references may point into the very files that are replaced.
  const model = await encodeModel(graph, { shapes: true, externalData: (name) => outside.get(name)?.where });
  if (outside.size > 0) {
    const data = platform.resolve(platform.parent(platform.resolve(path)), `${platform.base(path)}.data`);
    await writeFileAtomic(data, contents(outside.values(), signal), { signal });
  }
  await writeFileAtomic(path, model, { signal });
}

function place(graph: Graph, location: string): Map<string, Placed> {
  const placed = new Map<string, Placed>();
  let offset = 0;
  for (const [name, ref] of graph.weights) {
    const { dtype } = weightValue(graph, name);
    const length = byteLength(dtype, ref.shape);
    placed.set(name, { ref, dtype, where: { location, offset, length } });
    offset = Math.ceil((offset + length) / page) * page;
  }
  return placed;
}

async function* contents(placed: Iterable<Placed>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const { ref, dtype, where } of placed) {
    yield new Uint8Array(where.offset - at);
    for await (const piece of readInPieces(ref, { signal })) yield bytesOf(cast(piece, dtype));
    at = where.offset + where.length;
  }
}
