import { PeftError } from '../../errors.js';
import type { ShapedValue } from '../graph.js';
import { axisOf, type Builder, float, int, requireShape } from './builder.js';
import type { elementwise } from './elementwise.js';
import type { indexing } from './indexing.js';
import type { matrix } from './matrix.js';
import type { reductions } from './reduce.js';
import type { shapes } from './shape.js';

type Parts = ReturnType<typeof elementwise> &
  ReturnType<typeof indexing> &
  ReturnType<typeof reductions> &
  ReturnType<typeof shapes>;

/** Layers of transformers, each one standard operation or a few, with derivatives of their own where that pays. */
export function network(b: Builder, o: Parts, m: ReturnType<typeof matrix>) {
  const along =
    (op: string) =>
    (x: ShapedValue, axis = -1) =>
      b.emit(op, [x], x.dtype, x.shape, { axis: int(axisOf(axis, x.shape.length, op)) });
  const logSoftmax = along('LogSoftmax');

  /** Declares the nodes emitted so far for `output` as one, differentiated by `vjp`. */
  function macro(
    output: ShapedValue,
    inputs: readonly ShapedValue[],
    vjp: (dy: ShapedValue, needs: readonly boolean[]) => readonly (ShapedValue | undefined)[],
  ): ShapedValue {
    b.graph.macros.set(output, { inputs, vjp });
    return output;
  }

  /** x, taken for a constant by differentiation. */
  function stopGradient(x: ShapedValue): ShapedValue {
    return macro(b.emit('Identity', [x], x.dtype, x.shape), [x], () => [undefined]);
  }

  /**
   * x Φ(x) with the error function: a = x√½, F = erf(a) + 1, y = √½ a F. Both factors √½ fold into the products
   * around it, and the derivative reuses F: dx = √½ dG (F + (2/√π) a e^(-a²)), dG = √½ dy.
   */
  function gelu(x: ShapedValue): ShapedValue {
    const a = o.mul(x, Math.SQRT1_2);
    const f = o.add(o.erf(a), 1);
    const y = o.mul(o.mul(a, f), Math.SQRT1_2);
    return macro(y, [x], (dy) => {
      const dg = o.mul(dy, Math.SQRT1_2);
      // a / e^(a²) instead of a e^(-a²): where the exponential overflows, a / ∞ is the right limit, 0.
      const density = o.mul(o.div(a, o.exp(o.mul(a, a))), 2 / Math.sqrt(Math.PI));
      return [o.mul(o.mul(dg, o.add(f, density)), Math.SQRT1_2)];
    });
  }

  /** Hendrycks and Gimpel's tanh form: ½ x (1 + tanh(√(2/π)(x + 0.044715 x³))). */
  function geluTanh(x: ShapedValue): ShapedValue {
    const inner = o.mul(o.mul(x, o.add(o.mul(o.mul(x, x), 0.044715), 1)), Math.sqrt(2 / Math.PI));
    return o.mul(o.mul(x, o.add(o.tanh(inner), 1)), 0.5);
  }

  /** x σ(x); dx = dy (σ + y (1 - σ)). */
  function silu(x: ShapedValue): ShapedValue {
    const s = o.sigmoid(x);
    const y = o.mul(x, s);
    return macro(y, [x], (dy) => [o.mul(dy, o.add(o.sub(y, o.mul(y, s)), s))]);
  }

  /**
   * Cross entropy in nats, summed over the labels that count: Σ_i weight · -log softmax(logits_i)[label_i].
   * logits [rows, classes], labels i64 [rows] (negative ones are ignored), weight f32 []. Returns [].
   * Its gradient is weight (softmax - onehot) without forming the one-hot.
   */
  function crossEntropy(logits: ShapedValue, labels: ShapedValue, weight: ShapedValue): ShapedValue {
    const [rows] = logits.shape;
    requireShape(labels, [rows!], 'crossEntropy');
    const counts = o.mul(o.cast(o.greaterOrEqual(labels, 0), logits.dtype), weight); // [rows]: weight or 0
    const index = o.unsqueeze(o.max(labels, 0), [1]);
    const logp = logSoftmax(logits);
    const picked = o.squeeze(o.gatherElements(logp, index, 1), [1]);
    const loss = o.neg(o.sum(o.mul(picked, counts), [0], { keepdims: false }));
    return macro(loss, [logits], (dy) => {
      const scale = o.unsqueeze(o.mul(counts, dy), [1]); // [rows, 1]
      return [o.scatterElementsAdd(o.mul(o.exp(logp), scale), index, o.neg(scale), 1)];
    });
  }

  /**
   * O = softmax(S) V over the last axis: scores [..., q, k], v [..., k, d] -> [..., q, d]. With P = softmax(S),
   * dS = P (dO Vᵀ - rowsum(dO O)), which needs no second sum over keys, and dV = (dOᵀ P)ᵀ, the faster way round.
   */
  function attend(scores: ShapedValue, v: ShapedValue): ShapedValue {
    const p = along('Softmax')(scores);
    const y = m.matmul(p, v);
    const swapped = (x: ShapedValue): ShapedValue => {
      const rank = x.shape.length;
      return m.transpose(x, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
    };
    return macro(y, [scores, v], (dy, [needsScores, needsV]) => [
      needsScores ? o.mul(p, o.sub(m.matmul(dy, swapped(v)), o.sum(o.mul(dy, y), [-1]))) : undefined,
      needsV ? swapped(m.matmul(swapped(dy), p)) : undefined,
    ]);
  }

  return {
    macro,
    stopGradient,
    attend,
    gelu,
    geluTanh,
    silu,
    crossEntropy,
    logSoftmax,
    softmax: along('Softmax'),
    /** Over the last axis, with scale and bias of its extent. */
    layerNorm(x: ShapedValue, scale: ShapedValue, bias: ShapedValue, epsilon: number): ShapedValue {
      requireShape(scale, [x.shape.at(-1)!], 'LayerNormalization');
      requireShape(bias, [x.shape.at(-1)!], 'LayerNormalization');
      const attributes = { axis: int(-1), epsilon: float(epsilon) };
      return b.emit('LayerNormalization', [x, scale, bias], x.dtype, x.shape, attributes);
    },
    /** x / sqrt(mean(x²) + epsilon) · scale over the last axis. */
    rmsNorm(x: ShapedValue, scale: ShapedValue, epsilon: number): ShapedValue {
      requireShape(scale, [x.shape.at(-1)!], 'RMSNormalization');
      return b.emit('RMSNormalization', [x, scale], x.dtype, x.shape, { axis: int(-1), epsilon: float(epsilon) });
    },
    /** Rotary embedding in halves (x₁ cos - x₂ sin, x₂ cos + x₁ sin): x [batch, heads, length, d], cos and sin [batch, length, d/2]. */
    rotary(x: ShapedValue, cos: ShapedValue, sin: ShapedValue): ShapedValue {
      const [batch, , length, d] = x.shape;
      if (x.shape.length !== 4 || typeof d !== 'number' || d % 2 !== 0)
        throw new PeftError('GRAPH_INVALID', `RotaryEmbedding: "${x.name}" [${x.shape}] needs an even last axis.`);
      requireShape(cos, [batch!, length!, d / 2], 'RotaryEmbedding');
      requireShape(sin, [batch!, length!, d / 2], 'RotaryEmbedding');
      return b.emit('RotaryEmbedding', [x, cos, sin], x.dtype, x.shape);
    },
  };
}
