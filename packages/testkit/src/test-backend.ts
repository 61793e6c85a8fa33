import type { Backend } from '@peftjs/core';
import { backendLaws, type TestBackendOptions } from './backend-laws/index.js';
import { registerLaws } from './register.js';

/** Registers the laws of a backend as tests: `testBackend(() => onnxruntime(), { tolerance: { relToMax: 2e-6 } })`. */
export function testBackend(makeBackend: () => Backend | Promise<Backend>, options: TestBackendOptions): void {
  registerLaws('a backend', backendLaws(makeBackend, options));
}
