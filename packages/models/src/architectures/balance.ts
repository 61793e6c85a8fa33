export interface LayerSize {
  readonly heads: number;
  readonly headDim: number;
  /** Weights of the linear maps of one layer. */
  readonly weights: number;
}

/**
 * What one score costs beside its two products, in multiplications: about ten passes over memory (mask, softmax, their
 * gradients), measured on two server processors at 20 to 30 multiplications each.
 */
const passes = 250;

/** The length at which the attention of a layer takes as long as its linear maps, both counted for one token. */
export const attentionLength = ({ heads, headDim, weights }: LayerSize): number =>
  (2 * weights) / (heads * (4 * headDim + passes));
