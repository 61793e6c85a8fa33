import type { ShapedValue } from '../../graph/graph.js';
import type { Ops } from '../../graph/ops.js';
import { floatOf, type Rules, sumTo } from '../rule.js';

const overLast = (ops: Ops, x: ShapedValue) => ops.mean(x, [-1]);

export const normalizationRules: Rules = {
  // x̂ = (x - μ)/σ, g = dy γ: dx = (g - mean(g) - x̂ mean(g x̂))/σ. μ and 1/σ are outputs of the forward node.
  LayerNormalization: ({ ops, node, x, dy, needs }) => {
    const statistics = { dtype: x[0]!.dtype, shape: [...x[0]!.shape.slice(0, -1), 1] };
    const mean = ops.extend(node, 1, statistics);
    const inverse = ops.extend(node, 2, statistics);
    const normal = ops.mul(ops.sub(x[0]!, mean), inverse);
    const dx = () => {
      const g = ops.mul(dy, x[1]!);
      const shifted = ops.sub(ops.sub(g, overLast(ops, g)), ops.mul(normal, overLast(ops, ops.mul(g, normal))));
      return ops.mul(shifted, inverse);
    };
    return [
      needs[0] ? dx() : undefined,
      needs[1] ? sumTo(ops, ops.mul(dy, normal), x[1]!) : undefined,
      x[2] && needs[2] ? sumTo(ops, dy, x[2]) : undefined,
    ];
  },
  // ρ = 1/sqrt(mean(x²) + ε), g = dy γ: dx = ρ (g - x ρ² mean(g x))
  RMSNormalization: ({ ops, node, x, dy, needs }) => {
    const square = overLast(ops, ops.mul(x[0]!, x[0]!));
    const rho = ops.reciprocal(ops.sqrt(ops.add(square, floatOf(node, 'epsilon', 1e-5))));
    const dx = () => {
      const g = ops.mul(dy, x[1]!);
      const along = ops.mul(overLast(ops, ops.mul(g, x[0]!)), ops.mul(rho, rho));
      return ops.mul(ops.sub(g, ops.mul(x[0]!, along)), rho);
    };
    return [needs[0] ? dx() : undefined, needs[1] ? sumTo(ops, ops.mul(dy, ops.mul(x[0]!, rho)), x[1]!) : undefined];
  },
  // A rotation: its adjoint turns the other way.
  RotaryEmbedding: ({ ops, x, dy }) => [ops.rotary(dy, x[1]!, ops.neg(x[2]!))],
};
