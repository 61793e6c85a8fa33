import type { Parts } from '../common/keys.js';

export type FactorPart = 'a' | 'b' | 'bias' | 'embeddingA' | 'embeddingB' | 'magnitude' | 'tokens';

/** What a LORA folder keeps for a module. Embeddings, magnitudes and rows of tables have no `.weight`. */
export const loraParts: Parts<FactorPart> = {
  a: { suffix: '.lora_A.weight' },
  b: { suffix: '.lora_B.weight' },
  bias: { suffix: '.lora_B.bias' },
  embeddingA: { suffix: '.lora_embedding_A' },
  embeddingB: { suffix: '.lora_embedding_B' },
  magnitude: { suffix: '.lora_magnitude_vector' },
  tokens: { suffix: '.token_adapter.trainable_tokens_delta' },
};
