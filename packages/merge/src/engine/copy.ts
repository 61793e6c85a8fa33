import { bytesOf, PeftError, readInPieces } from '@peftjs/core';
import type { Files } from '../platform/files.js';
import { openSink } from './target.js';
import type { Finished, Task } from './task.js';

const pieceBytes = 2 ** 22;

/**
 * A tensor that is no floats: taken over, when all inputs have the same.
 * @throws PeftError DELTA_CONFLICT when they differ
 */
export async function copyTensor(task: Task, files: Files | undefined): Promise<Finished> {
  const [first, ...others] = [...(task.base ? [task.base] : []), ...task.models].map(({ ref }) => ref!);
  const pieces = others.map((ref) => readInPieces(ref, { maxBytes: pieceBytes }));
  const sink = openSink({ ...task.target, dtype: first!.dtype }, task.shape, files);
  let at = 0;
  try {
    for await (const piece of readInPieces(first!, { maxBytes: pieceBytes })) {
      const bytes = bytesOf(piece);
      for (const [i, other] of pieces.entries()) {
        const theirs = bytesOf((await other.next()).value!);
        if (bytes.every((byte, j) => byte === theirs[j])) continue;
        const who = task.ids[task.base ? i : i + 1]!;
        throw new PeftError(
          'DELTA_CONFLICT',
          `Tensor "${task.tensor}" (${first!.dtype}) is not a float tensor and differs in ${who}: numbers that count something are never averaged. Make them equal, or leave the tensor out.`,
          { details: { tensor: task.tensor, model: who } },
        );
      }
      sink.copy(at, bytes);
      at += bytes.length;
    }
  } catch (error) {
    sink.close();
    throw error;
  }
  const data = sink.close();
  return { done: true, warnings: [], ...(data && { data }) };
}
