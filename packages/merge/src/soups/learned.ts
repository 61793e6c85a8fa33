/** Loss of a soup, and its slopes. */
export interface SoupLoss {
  readonly loss: number;
  /** ∂loss/∂α, a row a tensor, a column a model. */
  readonly alpha: readonly ArrayLike<number>[];
  /** ∂loss/∂β. */
  readonly beta: number;
}

export interface LearnedSoupOptions {
  /** Number of tensors that have shares of their own, and of models. */
  readonly tensors: number;
  readonly models: number;
  /** Evaluates the soup θ_t = Σ_m α[t][m] θ_m,t with its outputs multiplied by β, on held-out rows. */
  readonly evaluate: (alpha: readonly Float64Array[], beta: number) => SoupLoss | Promise<SoupLoss>;
  readonly steps: number;
  /** Default 0.05, the authors' rate. */
  readonly lr?: number;
  /** Whether β is learned too; default true. */
  readonly beta?: boolean;
}

export interface LearnedSoup {
  readonly alpha: readonly Float64Array[];
  readonly beta: number;
  /** The loss before each step. */
  readonly losses: readonly number[];
}

function softmax(x: Float64Array): Float64Array {
  const highest = x.reduce((a, b) => Math.max(a, b));
  const powers = x.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

/** One Adam step in place (betas 0.9 and 0.999, eps 1e-8, no decay). @param t number of the step from 1 */
function adam(x: Float64Array, gradient: Float64Array, m: Float64Array, v: Float64Array, t: number, lr: number): void {
  for (let i = 0; i < x.length; i++) {
    const g = gradient[i]!;
    m[i] = 0.9 * m[i]! + 0.1 * g;
    v[i] = 0.999 * v[i]! + 0.001 * g * g;
    x[i] = x[i]! - (lr * (m[i]! / (1 - 0.9 ** t))) / (Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8);
  }
}

/** Learned soup (Wortsman et al. 2022, appendix I): shares by tensor from a softmax, and a scale β of the outputs. */
export async function learnedSoup(options: LearnedSoupOptions): Promise<LearnedSoup> {
  const { tensors, models, evaluate, steps, lr = 0.05 } = options;
  // One vector: raw shares tensor by tensor, then β. The authors start the raw shares at softmax(1, 1, ...).
  const size = tensors * models;
  const x = new Float64Array(size + 1).fill(1 / models);
  x[size] = 1;
  const [m, v] = [new Float64Array(size + 1), new Float64Array(size + 1)];
  const row = (values: Float64Array, t: number) => values.subarray(t * models, (t + 1) * models);
  const shares = () => Array.from({ length: tensors }, (_, t) => softmax(row(x, t)));
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const alpha = shares();
    const slopes = await evaluate(alpha, x[size]!);
    losses.push(slopes.loss);
    const gradient = new Float64Array(size + 1);
    alpha.forEach((a, t) => {
      // ∂/∂raw of softmax: α (g - ⟨α, g⟩)
      const g = slopes.alpha[t]!;
      const mean = a.reduce((sum, share, i) => sum + share * g[i]!, 0);
      for (let i = 0; i < models; i++) gradient[t * models + i] = a[i]! * (g[i]! - mean);
    });
    gradient[size] = options.beta === false ? 0 : slopes.beta;
    adam(x, gradient, m, v, step, lr);
  }
  return { alpha: shares(), beta: x[size]!, losses };
}
