/** One update in the files of all codecs, and what it scores then. */
import { bitdelta, int8, lowRank } from '@peftjs/bitdelta';
import { compeft, searchAlpha } from '@peftjs/compeft';
import { type Compressed, compress, type Delta, decompress, elementCount } from '@peftjs/core';
import type { Trained } from './tasks.js';

const codecs = [compeft, bitdelta, int8, lowRank];
const percents = [50, 20, 10, 5, 1];

/** Bytes of the update's own numbers in float16, as the adapter's file would have them: the denominator of ratios. */
export function bytesInFloat16(delta: Delta): number {
  const tensors = [...delta.params.values()].flat().flatMap((term) => Object.values(term.tensors));
  return tensors.reduce((sum, { shape }) => sum + 2 * elementCount(shape), 0);
}

interface Packed {
  readonly codec: string;
  readonly file: Compressed;
  /** What validation chose. */
  readonly alpha?: number;
}

/** Heads are no part of the file: each task keeps its own. */
async function* packed({ adapter, dev }: Trained, alphas: readonly number[]): AsyncGenerator<Packed> {
  const { delta } = adapter;
  const plain = async (file: Compressed) => (await decompress(file, { codecs })).delta;
  for (const percent of percents)
    for (const scope of ['global', 'factor'] as const) {
      const validate = async (made: Compressed['adapter']) =>
        dev(await plain({ adapter: made, codec: compeft.codec.name } as Compressed));
      const found = await searchAlpha(delta, validate, { density: percent / 100, scope, alphas }).result();
      yield { codec: `compeft ${percent} % (${scope})`, file: found.compressed, alpha: found.alpha };
    }
  yield { codec: 'bitdelta', file: await compress(bitdelta(), delta).result() };
  yield { codec: 'int8', file: await compress(int8(), delta).result() };
  for (const rank of [4, 2, 1])
    yield { codec: `low-rank ${rank}`, file: await compress(lowRank({ rank }), delta).result() };
}

export async function compressedByAll(trained: Trained, alphas: readonly number[]) {
  const whole = bytesInFloat16(trained.adapter.delta);
  const results = [];
  for await (const { codec, file, alpha } of packed(trained, alphas)) {
    const { delta } = await decompress(file, { codecs });
    const { bytes } = file;
    const accuracy = await trained.test(delta);
    results.push({ codec, bytes, ratio: whole / bytes, accuracy, ...(alpha !== undefined && { alpha }) });
  }
  return results;
}
