import { testBackend } from '@peftjs/testkit';
import { describe } from 'vitest';
import { tfjs } from '../src/index.js';

for (const device of ['cpu', 'wasm'] as const)
  describe(`on ${device}`, () => testBackend(() => tfjs({ device }), { tolerance: { relToMax: 2e-6 } }));
