import { onnxruntime } from '@peftjs/onnxruntime';
import { describe } from 'vitest';
import { testBackend } from '../src/test-backend.js';

// 4e-6: sums of a few products in float32, exp and erf by polynomials: some units in the last place of the largest.
const tolerance = { relToMax: 4e-6, absolute: 1e-7 };

describe('onnxruntime, the default runtime', () => testBackend(() => onnxruntime(), { tolerance }));
describe('onnxruntime-web', () => testBackend(() => onnxruntime({ runtime: 'web' }), { tolerance }));
