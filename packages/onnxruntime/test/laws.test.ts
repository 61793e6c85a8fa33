import { testBackend } from '@peftjs/testkit';
import { onnxruntime } from '../src/index.js';

testBackend(() => onnxruntime(), { tolerance: { relToMax: 2e-6 } });
testBackend(() => onnxruntime({ worker: true }), { tolerance: { relToMax: 2e-6 } });
testBackend(() => onnxruntime({ runtime: 'web', threads: 1 }), { tolerance: { relToMax: 2e-6 } });
