import { isPeftError } from '@peftjs/core';
import { afterAll, describe, expect, it } from 'vitest';
import { type OnnxCase, onnxModelCases } from '../../../scripts/goldens/formats-onnx.js';
import { goldensPath } from '../../testkit/src/shared.js';
import { tfjs } from '../src/index.js';

const root = goldensPath('formats', 'onnx') && goldensPath();
const backend = tfjs({ device: 'wasm' });
const cases: OnnxCase[] = [];
if (root) for await (const golden of onnxModelCases(root, backend)) cases.push(golden);
afterAll(() => backend.dispose());

describe('reference models of other exporters', () => {
  let computed = 0;

  for (const { name, run } of cases)
    it(name, async ({ skip }) => {
      try {
        await run();
        computed++;
      } catch (error) {
        // Half precision and quantised operations are refused by name; everything else must agree.
        if (!isPeftError(error) || error.code !== 'BACKEND_UNSUPPORTED') throw error;
        skip(error.message);
      }
    });

  it.skipIf(!root)('are computed, all that are plain float32 (without them, set PEFTJS_GOLDENS)', () =>
    expect(computed).toBeGreaterThan(25),
  );
});
