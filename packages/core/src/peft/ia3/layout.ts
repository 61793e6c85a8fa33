import { defineLayout } from '../layout.js';
import { readIa3 } from './read.js';
import { writeIa3 } from './write.js';

/** PEFT's IA3 (Liu et al. 2022): one vector a module that multiplies its outputs or its inputs, saved modules. */
export const ia3Layout = defineLayout({ spec: 'v1', peftType: 'IA3', read: readIa3, write: writeIa3 });
