import type { Command } from '../command.js';
import { bench } from './bench.js';
import { compress } from './compress.js';
import { convert } from './convert.js';
import { decompress } from './decompress.js';
import { evaluateCommand } from './eval.js';
import { forward } from './forward.js';
import { generateCommand } from './generate.js';
import { inspect } from './inspect.js';
import { merge } from './merge.js';
import { serve } from './serve.js';
import { trainCommand } from './train.js';

/** Every command, in the order of the help text. */
export const commands: readonly Command[] = [
  trainCommand,
  evaluateCommand,
  generateCommand,
  forward,
  merge,
  compress,
  decompress,
  convert,
  inspect,
  serve,
  bench,
];
