import * as z from 'zod';
import { flag, integer, repeated } from './fields.js';

/** Options of every command. */
export const common = {
  config: z.string().optional().meta({ flags: '--config <file>', description: 'YAML file with any of these options' }),
  json: flag().meta({ flags: '--json', description: 'one JSON object a line on standard output' }),
  quiet: flag().meta({ flags: '--quiet', description: 'no talk on standard error' }),
  seed: integer().default(0).meta({ flags: '--seed <n>', description: 'seed of everything random' }),
  device: z.string().default('auto').meta({ flags: '--device <name>', description: 'auto, cpu, webgpu, cuda, ...' }),
  backend: z.string().default('onnxruntime').meta({ flags: '--backend <name>', description: 'onnxruntime or tfjs' }),
  threads: integer(1).optional().meta({ flags: '--threads <n>', description: 'threads of the backend' }),
  plugin: repeated().meta({ flags: '--plugin <name...>', description: 'package with further methods, backends, ...' }),
};

/** The base model, and adapters on it. */
export const model = z
  .string()
  .meta({ flags: '--model <dir>', description: 'the base model, a Hugging Face directory' });

export const adapters = repeated().meta({
  flags: '--adapter <path...>',
  description: 'adapters in any format, PATH or PATH:WEIGHT, added',
});
