import { defineLayout } from '../layout.js';
import { readLora } from './read.js';
import { writeLora } from './write.js';

/** PEFT's LORA: linear layers, conv1d layers and embeddings; rank and alpha patterns, rsLoRA, biases, saved modules. */
export const loraLayout = defineLayout({ spec: 'v1', peftType: 'LORA', read: readLora, write: writeLora });
