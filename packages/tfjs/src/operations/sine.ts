import * as tf from '@tensorflow/tfjs-core';

/** π in three parts of few bits each, so that a multiple of a part is exact. */
const parts = [3.140625, 9.675025939941406e-4, 1.5099579909783765e-7];

/** Coefficients of r³, r⁵, ... in the series of the sine; what is left out stays below 6e-8 up to r = π/2. */
const series = [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800];

/** sin r for |r| ≤ π/2, by Horner's rule. */
function nearZero(r: tf.Tensor): tf.Tensor {
  const square = tf.mul(r, r);
  const tail = series.reduceRight<tf.Tensor>((sum, c) => tf.mul(tf.add(sum, c), square), tf.scalar(0));
  return tf.add(r, tf.mul(r, tail));
}

/** sin r with x = nπ + r, for n from a whole or a half number. */
const remainder = (x: tf.Tensor, n: tf.Tensor): tf.Tensor =>
  nearZero(parts.reduce((r, part) => tf.sub(r, tf.mul(n, part)), x));

/** 1 where n is even, -1 where it is odd. */
const sign = (n: tf.Tensor): tf.Tensor => tf.sub(1, tf.mul(tf.abs(tf.sub(n, tf.mul(tf.round(tf.mul(n, 0.5)), 2))), 2));

/** sin(nπ + r) = (-1)ⁿ sin r */
export function sin(x: tf.Tensor): tf.Tensor {
  const n = tf.round(tf.mul(x, 1 / Math.PI));
  return tf.mul(sign(n), remainder(x, n));
}

/** cos((n + ½)π + r) = -(-1)ⁿ sin r */
export function cos(x: tf.Tensor): tf.Tensor {
  const n = tf.floor(tf.mul(x, 1 / Math.PI));
  return tf.neg(tf.mul(sign(n), remainder(x, tf.add(n, 0.5))));
}
