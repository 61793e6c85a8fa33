import { type Batch, PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import type { ImageShape } from '../architectures/architecture.js';

/** One picture of a batch. */
export interface Picture {
  /** f32 [channels, height, width], flat. */
  readonly pixels: Float32Array;
  readonly label?: number;
}

const i64 = (shape: readonly number[], value: (i: number) => number): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from({ length: shape[0]! * shape[1]! }, (_, i) => BigInt(value(i))),
});

/**
 * Lays pictures out as the feeds of a vision model that reads the first token of each. `indices` are the samples'
 * numbers in the data set. The rows of a picture are its tokens: the class token, then the patches.
 */
export function imageBatch(
  pictures: readonly Picture[],
  indices: readonly number[],
  { channels, size, tokens }: ImageShape,
  { labels: labelled = true }: { labels?: boolean } = {},
): Batch {
  const count = pictures.length;
  const area = channels * size[0] * size[1];
  const pixels = new Float32Array(count * area);
  for (const [i, picture] of pictures.entries()) {
    if (picture.pixels.length !== area)
      throw new PeftError('INTERNAL', `Image ${indices[i]} has ${picture.pixels.length} values, not ${area}.`);
    pixels.set(picture.pixels, i * area);
  }
  const feeds: Record<string, Tensor> = {
    pixel_values: { dtype: 'f32', shape: [count, channels, ...size], data: pixels },
    read: i64([count, 1], (i) => i * tokens),
  };
  if (labelled) feeds.labels = i64([count, 1], (i) => pictures[i]!.label!);
  const rows = (each: number) => ({
    sample: Int32Array.from({ length: count * each }, (_, row) => indices[Math.floor(row / each)]!),
    token: Int32Array.from({ length: count * each }, (_, row) => row % each),
  });
  return {
    feeds,
    labels: labelled ? count : 0,
    tokens: count * tokens,
    rows: { [`${tokens}*batch`]: rows(tokens), 'batch*reads': rows(1) },
  };
}
