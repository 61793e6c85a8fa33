import { defineLayout } from '../layout.js';
import { readSupertuning } from './read.js';
import { writeSupertuning } from './write.js';

/** PEFT's SUPERTUNING ("Super", and "Supra" with factors): single entries and low-rank updates of linear layers. */
export const supertuningLayout = defineLayout({
  spec: 'v1',
  peftType: 'SUPERTUNING',
  read: readSupertuning,
  write: writeSupertuning,
});
