import { PeftError } from '@peftjs/core';
import type { Architecture } from './architecture.js';
import { bert } from './bert.js';
import { gpt2 } from './gpt2.js';
import { llama, qwen2 } from './llama.js';
import { vit } from './vit.js';

/** The architectures of this package. */
export const architectures: readonly Architecture[] = [bert, gpt2, llama, qwen2, vit];

/** @throws PeftError MODEL_UNSUPPORTED naming the type and those there are */
export function findArchitecture(modelType: string, among: readonly Architecture[] = architectures): Architecture {
  const found = among.find((architecture) => architecture.modelType === modelType);
  if (found) return found;
  const known = among.map((architecture) => architecture.modelType);
  throw new PeftError(
    'MODEL_UNSUPPORTED',
    `No architecture for model_type "${modelType}". There are: ${known.join(', ')}.`,
    {
      details: { modelType, known },
    },
  );
}
