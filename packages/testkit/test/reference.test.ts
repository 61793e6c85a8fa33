import { createGraph, createOps, type DType, f32, type Tensor, tensor } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../src/allclose.js';
import { referenceBackend } from '../src/reference/backend.js';
import { erf } from '../src/reference/erf.js';
import { testBackend } from '../src/test-backend.js';

// The reference computes in float64 and rounds once: half a unit of float32.
testBackend(() => referenceBackend(), { tolerance: { relToMax: 6e-8 } });

type Attributes = Parameters<ReturnType<typeof createOps>['node']>[3];

async function run(
  op: string,
  inputs: readonly Tensor[],
  attributes: Attributes,
  ...dtypes: DType[]
): Promise<Tensor[]> {
  const graph = createGraph(op);
  const ops = createOps(graph);
  const values = inputs.map(({ dtype, shape }, i) => ops.input(`x${i}`, dtype, shape));
  const outputs = ops.node(
    op,
    values,
    dtypes.map((dtype) => ({ dtype, shape: ['any'] })),
    attributes,
  );
  for (const [i, output] of outputs.entries()) ops.output(output, `y${i}`);
  const program = await referenceBackend().compile(graph);
  const results = await program.run(Object.fromEntries(inputs.map((input, i) => [`x${i}`, input])));
  return outputs.map((_, i) => results[`y${i}`]!);
}

const i64 = (...values: number[]): Tensor => tensor('i64', [values.length], BigInt64Array.from(values, BigInt));
const int = (value: number) => ({ type: 'int', value }) as const;

describe('the reference against values worked out by hand', () => {
  // erf to 17 digits: Abramowitz and Stegun table 7.1, and the symmetry.
  it.each([
    [0, 0],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.9999999, 0.9953222443118106],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [-1, -0.8427007929497149],
    [7, 1],
  ])('erf(%d)', (x, expected) => {
    expect(Math.abs(erf(x) - expected)).toBeLessThanOrEqual(2e-16 + 1e-7 * Number(x === 1.9999999));
  });

  it('CumSum forward, exclusive and reverse', async () => {
    const x = f32([4], [1, 2, 3, 4]);
    const axis = i64(0);
    expect((await run('CumSum', [x, axis], {}, 'f32'))[0]!.data).toEqual(Float32Array.of(1, 3, 6, 10));
    expect((await run('CumSum', [x, axis], { exclusive: int(1), reverse: int(1) }, 'f32'))[0]!.data).toEqual(
      Float32Array.of(9, 7, 4, 0),
    );
  });

  it('TopK puts the lower index first among equals', async () => {
    const [values, indices] = await run('TopK', [f32([5], [2, 7, 7, 1, 2]), i64(3)], {}, 'f32', 'i64');
    expect(values!.data).toEqual(Float32Array.of(7, 7, 2));
    expect(indices!.data).toEqual(BigInt64Array.of(1n, 2n, 0n));
  });

  it('Trilu of both triangles, shifted', async () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    const k = tensor('i64', [], BigInt64Array.of(1n));
    expect((await run('Trilu', [x, k], {}, 'f32'))[0]!.data).toEqual(Float32Array.of(0, 2, 3, 0, 0, 6));
    expect((await run('Trilu', [x, k], { upper: int(0) }, 'f32'))[0]!.data).toEqual(Float32Array.of(1, 2, 0, 4, 5, 6));
  });

  it('GatherND with and without batch axes', async () => {
    const x = f32([2, 2, 2], [0, 1, 2, 3, 4, 5, 6, 7]);
    const pairs = tensor('i64', [2, 2], BigInt64Array.of(0n, 1n, 1n, 0n));
    expect((await run('GatherND', [x, pairs], {}, 'f32'))[0]!.data).toEqual(Float32Array.of(2, 3, 4, 5));
    const ones = tensor('i64', [2, 1], BigInt64Array.of(1n, 0n));
    expect((await run('GatherND', [x, ones], { batch_dims: int(1) }, 'f32'))[0]!.data).toEqual(
      Float32Array.of(2, 3, 4, 5),
    );
  });

  it('Conv of patches, with stride and padding', async () => {
    const x = f32([1, 1, 3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const w = f32([1, 1, 2, 2], [1, 0, 0, 1]);
    const [plain] = await run('Conv', [x, w, f32([1], [0.5])], {}, 'f32');
    expect(plain).toEqual(f32([1, 1, 2, 2], [6.5, 8.5, 12.5, 14.5]));
    const ints = (...value: number[]) => ({ type: 'ints', value }) as const;
    const [padded] = await run('Conv', [x, w], { strides: ints(2, 2), pads: ints(1, 1, 0, 0) }, 'f32');
    expect(padded).toEqual(f32([1, 1, 2, 2], [1, 3, 7, 14]));
  });

  it('Slice backwards and Pad', async () => {
    const x = f32([4], [1, 2, 3, 4]);
    const [back] = await run('Slice', [x, i64(-1), i64(-5), i64(0), i64(-2)], {}, 'f32');
    expect(back!.data).toEqual(Float32Array.of(4, 2));
    expect((await run('Pad', [x, i64(1, 2)], {}, 'f32'))[0]!.data).toEqual(Float32Array.of(0, 1, 2, 3, 4, 0, 0));
  });

  it('a failed comparison says how far, where and how many', () => {
    const compare = () => expectClose('w', f32([2, 2], [1, 2, 3, 4.5]), f32([2, 2], [1, 2, 3, 4]), { absolute: 0.1 });
    expect(compare).toThrow(/w: largest difference 5\.000e-1.*worst at \[1,1\]: got 4\.5, expected 4; 1 of 4/);
  });
});
