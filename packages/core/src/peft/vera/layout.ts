import { defineLayout } from '../layout.js';
import { readVera } from './read.js';
import { writeVera } from './write.js';

/** PEFT's VERA (Kopiczko et al. 2024): two vectors a module, projections that all share, biases, saved modules. */
export const veraLayout = defineLayout({ spec: 'v1', peftType: 'VERA', read: readVera, write: writeVera });
