import { defineLayout } from '../layout.js';
import { readShira } from './read.js';
import { writeShira } from './write.js';

/** PEFT's SHIRA (Bhardwaj et al. 2024): single entries of linear layers, saved modules. */
export const shiraLayout = defineLayout({ spec: 'v1', peftType: 'SHIRA', read: readShira, write: writeShira });
