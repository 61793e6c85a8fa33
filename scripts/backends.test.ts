import type { AnyMethod } from '@peftjs/core';
import { onnxruntime } from '@peftjs/onnxruntime';
import { tfjs } from '@peftjs/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { losses, type TinyRun, tinyRun } from './backends/losses.js';
import { allMethods } from './methods.js';

const reference = onnxruntime({ threads: 1 });
const others = [onnxruntime({ runtime: 'web', threads: 1 }), tfjs({ device: 'wasm' }), tfjs({ device: 'cpu' })];
const run = await tinyRun();
const methods = await allMethods();
/** Seconds on a machine that does nothing else. */
const timeout = 180_000;
afterAll(() => Promise.all([reference, ...others].map((backend) => backend.dispose())));

async function agree(run: TinyRun, bind: AnyMethod, expected: readonly number[]): Promise<void> {
  for (const backend of others) {
    const found = await losses(run, bind, backend);
    const apart = Math.max(...found.map((loss, step) => Math.abs(loss - expected[step]!)));
    // 5e-7 was seen.
    expect(apart, `${backend.name} ${backend.device}: ${found} instead of ${expected}`).toBeLessThan(1e-5);
  }
}

describe('twenty losses of the same seed, the same on every backend', () => {
  it.for(methods.map((bind) => [bind.method.name, bind] as const))('%s', { timeout }, async ([, bind]) => {
    const expected = await losses(run, bind, reference);
    expect(expected).toHaveLength(20);
    expect(expected.at(-1)).toBeLessThan(expected[0]!);
    await agree(run, bind, expected);
  });

  it.for(['f16', 'bf16'] as const)('lora on a base in %s', { timeout }, async (dtype) => {
    const bind = methods.find(({ method }) => method.name === 'lora')!;
    const half = await tinyRun(dtype);
    const expected = await losses(half, bind, reference);
    expect(expected.at(-1)).toBeLessThan(expected[0]!);
    expect(expected[0]).not.toBe((await losses(run, bind, reference))[0]); // the base is another
    await agree(half, bind, expected);
  });
});
