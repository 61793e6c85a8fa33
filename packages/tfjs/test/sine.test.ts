import { f32 } from '@peftjs/core';
import { expectClose, tensorOf } from '@peftjs/testkit';
import { setBackend, type Tensor, tensor1d } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { expect, it } from 'vitest';
import { cos, sin } from '../src/operations/sine.js';

it.each([
  ['sin', sin, Math.sin],
  ['cos', cos, Math.cos],
] as const)('%s from sums and products is good far from zero, too', async (_, ours: (x: Tensor) => Tensor, exact) => {
  await setBackend('cpu');
  for (const bound of [1.5, 10, 8000]) {
    const x = tensorOf('f32', [500], { from: -bound, to: bound }, `angles up to ${bound}`).data as Float32Array;
    const got = f32([500], ours(tensor1d(x)).dataSync() as Float32Array);
    const expected = f32([500], x.map(exact));
    // A few units in the last place of 1: the reduced angle and the series are each rounded.
    expect(expectClose(`up to ${bound}`, got, expected, { absolute: 5e-7 }).close).toBe(true);
  }
});
