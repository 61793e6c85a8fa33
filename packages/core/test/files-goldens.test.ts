import { describe, expect, it } from 'vitest';
import { type GoldenCase, safetensorsCases } from '../../../scripts/goldens/formats-safetensors.js';
import { goldensPath } from '../../testkit/src/shared.js';

const root = goldensPath('formats', 'safetensors') && goldensPath();
const cases: GoldenCase[] = [];
if (root) for await (const golden of safetensorsCases(root)) cases.push(golden);

describe('reference files of safetensors', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(190));
  for (const { kind, name, run } of cases) it(`${kind}: ${name}`, run);
});
