import type { Ops, ShapedValue } from '@peftjs/core';

// A: n × n × n, shared; s: n × in/n × 1, t: n × 1 × out/n, b: [out].

/** One layer of the bottleneck. */
export interface PhmLayer<T> {
  readonly s: T;
  readonly t: T;
  readonly b: T;
}

/** H = Σᵢ Aᵢ ⊗ (sᵢ tᵢ), in × out (Karimi Mahabadi et al. 2021, eq. 5 with rank-one Bᵢ, eq. 7). */
export function kroneckerSum(A: ShapedValue, { s, t }: Pick<PhmLayer<ShapedValue>, 's' | 't'>, ops: Ops): ShapedValue {
  const n = Number(A.shape[0]);
  const [p, q] = [Number(s.shape[1]), Number(t.shape[2])];
  const B = ops.reshape(ops.matmul(s, t), [n, p * q]);
  // Σᵢ Aᵢ[a, c] Bᵢ[p, q] for all four indices at once, then a beside p and c beside q.
  const all = ops.gemm(ops.reshape(A, [n, n * n]), B, undefined, { transA: true });
  const blocks = ops.transpose(ops.reshape(all, [n, n, p, q]), [0, 2, 1, 3]);
  return ops.reshape(blocks, [n * p, n * q]);
}

const activations: Readonly<Record<string, (x: ShapedValue, ops: Ops) => ShapedValue>> = {
  gelu_new: (x, ops) => ops.geluTanh(x),
  gelu: (x, ops) => ops.gelu(x),
  relu: (x, ops) => ops.relu(x),
  tanh: (x, ops) => ops.tanh(x),
};

export const isActivation = (name: unknown): boolean => typeof name === 'string' && Object.hasOwn(activations, name);

export interface Bottleneck<T> {
  readonly a: T;
  readonly down: PhmLayer<T>;
  readonly up: PhmLayer<T>;
}

/** Up(f(Down(h))), Down and Up: x H + b (eq. 6). [rows, width] -> [rows, width] */
export function bottleneck(
  h: ShapedValue,
  { a, down, up }: Bottleneck<ShapedValue>,
  activation: string,
  ops: Ops,
): ShapedValue {
  const narrow = activations[activation]!(ops.gemm(h, kroneckerSum(a, down, ops), down.b), ops);
  return ops.gemm(narrow, kroneckerSum(a, up, ops), up.b);
}
