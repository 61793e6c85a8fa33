import { createGraph, createOps, f32, tensor } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { memory } from '@tensorflow/tfjs-core';
import { afterEach, expect, it, vi } from 'vitest';
import { tfjs } from '../src/index.js';

afterEach(() => vi.restoreAllMocks());

const devices = ['cpu', 'wasm'] as const;

it.each(devices)('refuses a batch that memory does not suffice for, on %s', async (device) => {
  const graph = createGraph('doubled');
  const ops = createOps(graph);
  ops.output(ops.sum(ops.mul(ops.input('x', 'f32', ['rows', 256]), 2), [0, 1], { keepdims: false }), 'y');
  vi.spyOn(process, 'constrainedMemory').mockReturnValue(2 ** 20);
  const backend = tfjs({ device });
  const program = await backend.compile(graph);
  const rows = (count: number) => f32([count, 256], new Float32Array(count * 256).fill(1));
  await expectPeftError(() => program.run({ x: rows(4096) }), ['BACKEND_UNAVAILABLE'], ['"doubled"', 'smaller batch']);
  expect((await program.run({ x: rows(2) })).y!.data[0]).toBe(1024);
  await backend.dispose();
});

it('refuses on WebAssembly what it cannot address', async () => {
  const graph = createGraph('repeated');
  const ops = createOps(graph);
  ops.output(ops.sum(ops.expand(ops.input('x', 'f32', ['n', 1]), ['n', 2 ** 20]), [0, 1], { keepdims: false }), 'y');
  const backend = tfjs({ device: 'wasm' });
  const program = await backend.compile(graph);
  const x = f32([4096, 1], new Float32Array(4096));
  await expectPeftError(() => program.run({ x }), ['BACKEND_UNAVAILABLE'], ['16.0 GB', 'smaller batch']);
  await backend.dispose();
});

it('tells the node at which plain JavaScript runs out of memory', async () => {
  const graph = createGraph('wide');
  const ops = createOps(graph);
  const shape = ops.input('shape', 'i64', [2]);
  const [huge] = ops.node('Expand', [ops.scalar(1), shape], [{ dtype: 'f32', shape: ['a', 'b'] }]);
  ops.output(ops.sum(ops.tanh(huge!), [0, 1], { keepdims: false }), 'y');
  const backend = tfjs({ device: 'cpu' });
  const program = await backend.compile(graph);
  const size = (n: bigint) => ({ shape: tensor('i64', [2], BigInt64Array.of(n, n)) });
  await program.run(size(2n));
  const before = memory().numTensors;
  await expectPeftError(() => program.run(size(2n ** 17n)), ['BACKEND_UNAVAILABLE'], ['Expand', 'memory ran out']);
  expect(memory().numTensors).toBe(before);
  await backend.dispose();
});
