import { expectClose, expectPeftError, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type OnnxRuntimeOptions, onnxruntime } from '../src/index.js';
import { halfFeeds, halfProduct } from './fixtures/half.js';

const forms: OnnxRuntimeOptions[] = [{}, { runtime: 'web', threads: 1 }];

describe.each(forms)('half precision (%o)', (options) => {
  const backend = onnxruntime(options);
  const expected = async (dtype: 'f16' | 'bf16') => {
    const program = await referenceBackend().compile(halfProduct(dtype, 'f32'));
    return (await program.run(halfFeeds)).y!;
  };

  it.each(['f16', 'bf16'] as const)('a weight in %s serves a computation in f32', async (dtype) => {
    const program = await backend.compile(halfProduct(dtype, 'f32'));
    expectClose('y', (await program.run(halfFeeds)).y!, await expected(dtype), { relToMax: 2e-6 });
    await program.dispose();
  });

  it('f16 is computed where the runtime has it, bf16 is refused with the node', async () => {
    const program = await backend.compile(halfProduct('f16', 'half'));
    // f16 has eleven bits: a product of 32 terms is good to about a thousandth.
    expectClose('y', (await program.run(halfFeeds)).y!, await expected('f16'), { relToMax: 2e-3 });
    await program.dispose();
    const error = await expectPeftError(
      () => backend.compile(halfProduct('bf16', 'half')),
      ['BACKEND_UNSUPPORTED'],
      ['"bf16 in half"', 'Gemm'],
    );
    expect(error.details.node).toContain('Gemm');
    expect((await backend.capabilities()).dtypes).not.toContain('bf16');
  });
});
