import { afterAll, describe, expect, it } from 'vitest';
import { type OnnxCase, onnxModelCases } from '../../../scripts/goldens/formats-onnx.js';
import { goldensPath } from '../../testkit/src/shared.js';
import { onnxruntime } from '../src/index.js';

const root = goldensPath('formats', 'onnx') && goldensPath();
const backend = onnxruntime({ threads: 1 });
const cases: OnnxCase[] = [];
if (root) for await (const golden of onnxModelCases(root, backend)) cases.push(golden);
afterAll(() => backend.dispose());

describe('reference models of other exporters', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(35));
  for (const { name, run } of cases) it(name, run);
});
