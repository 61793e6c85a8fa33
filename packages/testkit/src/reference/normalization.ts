import { PeftError } from '@peftjs/core';
import { around, axisOf, broadcastIndex, count, type NdArray, nd } from './array.js';
import { need, type Operation, type Operations } from './operation.js';

/** exp(x - max) / sum, or its logarithm, along one axis. */
const softmax =
  (log: boolean): Operation =>
  (inputs, attributes) => {
    const x = need(inputs, 0);
    const [outer, size, inner] = around(x.shape, axisOf(attributes.number('axis', -1), x.shape.length));
    const out = nd(x.dtype, x.shape);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const at = (k: number) => (o * size + k) * inner + i;
        let max = Number.NEGATIVE_INFINITY;
        for (let k = 0; k < size; k++) max = Math.max(max, x.data[at(k)]!);
        let sum = 0;
        for (let k = 0; k < size; k++) sum += Math.exp(x.data[at(k)]! - max);
        for (let k = 0; k < size; k++) {
          const shifted = x.data[at(k)]! - max;
          out.data[at(k)] = log ? shifted - Math.log(sum) : Math.exp(shifted) / sum;
        }
      }
    }
    return out;
  };

/** Rows over the axes from `axis` on, for normalizations. */
function rows(x: NdArray, axis: number): { run: number; total: number; statistics: number[] } {
  const run = count(x.shape.slice(axis));
  return { run, total: x.data.length / run, statistics: x.shape.map((size, i) => (i < axis ? size : 1)) };
}

/** Elements of an operand that broadcasts over the normalized axes. */
function perColumn(
  operand: NdArray | undefined,
  shape: readonly number[],
  missing: number,
): (column: number) => number {
  if (!operand) return () => missing;
  const index = broadcastIndex(operand.shape, shape);
  return (column) => operand.data[index[column]!]!;
}

export const normalization: Operations = {
  Softmax: softmax(false),
  LogSoftmax: softmax(true),

  /** Outputs: the result, the mean and the inverse standard deviation of each row. */
  LayerNormalization: (inputs, attributes) => {
    const x = need(inputs, 0);
    const axis = axisOf(attributes.number('axis', -1), x.shape.length);
    const epsilon = attributes.number('epsilon', 1e-5);
    const { run, total, statistics } = rows(x, axis);
    const scale = perColumn(inputs[1], x.shape.slice(axis), 1);
    const bias = perColumn(inputs[2], x.shape.slice(axis), 0);
    const [y, mean, inverse] = [nd(x.dtype, x.shape), nd(x.dtype, statistics), nd(x.dtype, statistics)];
    for (let row = 0; row < total; row++) {
      const part = x.data.subarray(row * run, (row + 1) * run);
      const mu = part.reduce((a, b) => a + b, 0) / run;
      const variance = part.reduce((a, b) => a + (b - mu) ** 2, 0) / run;
      mean.data[row] = mu;
      inverse.data[row] = 1 / Math.sqrt(variance + epsilon);
      part.forEach((v, i) => {
        y.data[row * run + i] = (v - mu) * inverse.data[row]! * scale(i) + bias(i);
      });
    }
    return [y, mean, inverse];
  },

  RMSNormalization: (inputs, attributes) => {
    const x = need(inputs, 0);
    const axis = axisOf(attributes.number('axis', -1), x.shape.length);
    const epsilon = attributes.number('epsilon', 1e-5);
    const { run, total } = rows(x, axis);
    const scale = perColumn(inputs[1], x.shape.slice(axis), 1);
    const y = nd(x.dtype, x.shape);
    for (let row = 0; row < total; row++) {
      const part = x.data.subarray(row * run, (row + 1) * run);
      const inverse = 1 / Math.sqrt(part.reduce((a, b) => a + b * b, 0) / run + epsilon);
      part.forEach((v, i) => {
        y.data[row * run + i] = v * inverse * scale(i);
      });
    }
    return y;
  },

  /**
   * x [batch, heads, length, d] with caches [batch, length, d/2], or caches [positions, d/2] and position_ids
   * [batch, length]. Pairs are (i, i + d/2), or neighbours when `interleaved`.
   */
  RotaryEmbedding: (inputs, attributes) => {
    const [x, cos, sin] = [need(inputs, 0), need(inputs, 1), need(inputs, 2)];
    const positions = inputs[3];
    const [batch, heads, length, d] = x.shape as [number, number, number, number];
    const half = (attributes.number('rotary_embedding_dim', 0) || d) / 2;
    if (x.shape.length !== 4) throw new PeftError('BACKEND_UNSUPPORTED', 'RotaryEmbedding needs a 4-D input here');
    const interleaved = attributes.number('interleaved', 0) === 1;
    const out = nd(x.dtype, x.shape, x.data.slice());
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let t = 0; t < length; t++) {
          const row = ((b * heads + h) * length + t) * d;
          const cache = (positions ? positions.data[b * length + t]! : b * length + t) * half;
          for (let i = 0; i < half; i++) {
            const [p, q] = interleaved ? [row + 2 * i, row + 2 * i + 1] : [row + i, row + half + i];
            const [c, s] = [cos.data[cache + i]!, sin.data[cache + i]!];
            out.data[p] = x.data[p]! * c - x.data[q]! * s;
            out.data[q] = x.data[q]! * c + x.data[p]! * s;
          }
        }
      }
    }
    return out;
  },
};
