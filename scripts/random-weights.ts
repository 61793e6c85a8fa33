import { createRandom, f32, type TensorRef, tensorRef } from '@peftjs/core/tensor';

/** Weights of a model that knows nothing, by name: normal with the given deviation, norms and biases as they begin. */
export function randomWeights(deviation: number) {
  const random = createRandom(0);
  const tensors = new Map<string, TensorRef>();
  const fill = (name: string, width: number, value: number) =>
    tensors.set(name, tensorRef(f32([width], new Float32Array(width).fill(value))));
  const add = (name: string, shape: readonly number[]) =>
    tensors.set(name, tensorRef(random.fork(name).normal(shape, 0, deviation)));
  return {
    tensors,
    add,
    /** A weight (out, ...into) and a bias. */
    linear(name: string, out: number, ...into: readonly number[]) {
      add(`${name}.weight`, [out, ...into]);
      fill(`${name}.bias`, out, 0);
    },
    norm(name: string, width: number) {
      fill(`${name}.weight`, width, 1);
      fill(`${name}.bias`, width, 0);
    },
  };
}
