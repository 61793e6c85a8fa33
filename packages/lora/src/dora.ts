import { type ModuleSite, type Ops, PeftError, type ShapedValue, type Target, type Tensor } from '@peftjs/core';

// W: out × in (in × out where it lies so), m and ‖·‖: [out], x: [rows, in].

const liesTurned = ({ kind }: Target): boolean => kind !== 'linear';

/** ‖W‖² of every output of the base's weight: [out]. */
export function squaredNorms(target: Target, { data }: Tensor): Float64Array {
  const squares = new Float64Array(target.out);
  const turned = liesTurned(target);
  for (let at = 0; at < data.length; at++) {
    const o = turned ? at % target.out : Math.floor(at / target.in);
    squares[o] = squares[o]! + Number(data[at]) ** 2;
  }
  return squares;
}

export interface Factors {
  readonly a: ShapedValue; // r × in
  readonly b: ShapedValue; // out × r
}

/**
 * ‖V‖ of V = W + s B A for every output, without forming V:
 * ‖V‖² = ‖W‖² + 2 s rowsum((W Aᵀ) ⊙ B) + s² rowsum((B A Aᵀ) ⊙ B).
 * Never zero, since m is divided by it: what is left where B A takes W away is below float32's rounding of ‖W‖², and an
 * output whose weights are all zero keeps m = 0.
 */
export function norms(
  target: Target,
  { W, squares, a, b, s }: Factors & { readonly W: ShapedValue; readonly squares: ShapedValue; readonly s: number },
  ops: Ops,
): ShapedValue {
  const wa = liesTurned(target)
    ? ops.gemm(W, a, undefined, { transA: true, transB: true })
    : ops.gemm(W, a, undefined, { transB: true });
  const baa = ops.matmul(b, ops.gemm(a, a, undefined, { transB: true }));
  const both = ops.add(ops.mul(wa, 2 * s), ops.mul(baa, s ** 2));
  const change = ops.sum(ops.mul(both, b), [1], { keepdims: false });
  const least = ops.add(ops.mul(squares, 2 ** -23), 1e-30);
  return ops.sqrt(ops.max(ops.add(squares, change), least));
}

/**
 * y' = y + (m / ‖V‖ - 1) ⊙ x Vᵀ (Liu et al. 2024, eq. 5; the bias is not rescaled), with ‖V‖ taken for a constant
 * (section 4.3). With dropout, both W and B A see the dropped x in the second term, as in PEFT.
 * @param y x Wᵀ + bias + s x Aᵀ Bᵀ, [rows, out]
 * @param branch s x Aᵀ Bᵀ again, where it has to be known apart
 */
export function rescaled(
  { target, x, y, p, parameters, dropped }: ModuleSite<unknown>,
  factors: Factors & { readonly s: number },
  branch: () => ShapedValue,
  ops: Ops,
): ShapedValue {
  const W = parameters.weight;
  if (!W)
    throw new PeftError(
      'MODEL_UNSUPPORTED',
      `DoRA needs the weight of "${target.path}" by itself, and here it is that of another module. Leave the module out.`,
    );
  const norm = norms(target, { W, squares: p.squares!, ...factors }, ops);
  const factor = ops.sub(ops.div(p.m!, ops.stopGradient(norm)), 1);
  const xW = () => ops.gemm(x, W, undefined, { transB: !liesTurned(target) });
  const bias = parameters.bias;
  const xV = dropped ? ops.add(xW(), branch()) : bias ? ops.sub(y, bias) : y;
  return ops.add(y, ops.mul(xV, factor));
}
