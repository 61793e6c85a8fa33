import { testBackend } from '@peftjs/testkit';
import { describe } from 'vitest';
import { type OnnxRuntimeOptions, onnxruntime } from '../src/index.js';

const forms: Record<string, OnnxRuntimeOptions> = {
  'in this thread': {},
  'in a worker': { worker: true },
  'on WebAssembly': { runtime: 'web', threads: 1 },
};

for (const [name, options] of Object.entries(forms))
  describe(name, () => testBackend(() => onnxruntime(options), { tolerance: { relToMax: 2e-6 } }));
