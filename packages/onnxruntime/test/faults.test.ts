import { createGraph, createOps, f32, type Graph, tensor, tensorRef } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { afterEach, expect, it, vi } from 'vitest';
import { type OnnxRuntimeOptions, onnxruntime } from '../src/index.js';

afterEach(() => vi.restoreAllMocks());

/** tanh(x)² through so many rows of 256 numbers as are fed. */
function squares(): Graph {
  const graph = createGraph('squares');
  const ops = createOps(graph);
  const y = ops.tanh(ops.input('x', 'f32', ['rows', 256]));
  ops.output(ops.sum(ops.mul(y, y), [0, 1], { keepdims: false }), 'y');
  return graph;
}

const rows = (count: number) => f32([count, 256], new Float32Array(count * 256).fill(1));
const machineHas = (bytes: number) => vi.spyOn(process, 'constrainedMemory').mockReturnValue(bytes);
const forms: OnnxRuntimeOptions[] = [{}, { runtime: 'web', threads: 1 }];

it.each(forms)('refuses a batch that memory does not suffice for, before it takes any (%o)', async (options) => {
  const backend = onnxruntime(options);
  machineHas(2 ** 20);
  const program = await backend.compile(squares());
  const error = await expectPeftError(
    () => program.run({ x: rows(4096) }),
    ['BACKEND_UNAVAILABLE'],
    ['"squares"', 'GB', 'smaller batch', 'gradAccumulation'],
  );
  expect(error.details.needed).toBeGreaterThan(4096 * 256 * 4);
  expect((await program.run({ x: rows(64) })).y!.data[0]).toBeGreaterThan(0);
  await backend.dispose();
});

it('refuses weights that have to be copied and do not fit', async () => {
  const graph = createGraph('heavy');
  const ops = createOps(graph);
  const w = ops.weight('w', tensorRef(f32([512, 512], new Float32Array(512 * 512))));
  ops.output(
    ops.add(ops.input('x', 'f32', ['n', 512]), ops.gather(w, ops.constant(tensor('i64', [1], BigInt64Array.of(3n))))),
    'y',
  );
  const backend = onnxruntime({ runtime: 'web', threads: 1 });
  await backend.capabilities();
  machineHas(2 ** 19);
  await expectPeftError(() => backend.compile(graph), ['BACKEND_UNAVAILABLE'], ['weights of "heavy"', 'smaller base']);
  await backend.dispose();
});

/** A tensor of n × n numbers in the middle, whose size the graph does not say. */
function wide(): Graph {
  const graph = createGraph('wide');
  const ops = createOps(graph);
  const shape = ops.input('shape', 'i64', [2]);
  const [huge] = ops.node('Expand', [ops.scalar(1), shape], [{ dtype: 'f32', shape: ['a', 'b'] }]);
  ops.output(ops.sum(ops.tanh(huge!), [0, 1], { keepdims: false }), 'y');
  return graph;
}

it.each(forms)('is told of by name where the runtime itself runs out of it (%o)', async (options) => {
  const backend = onnxruntime(options);
  const program = await backend.compile(wide());
  const size = (n: bigint) => ({ shape: tensor('i64', [2], BigInt64Array.of(n, n)) });
  await expectPeftError(
    () => program.run(size(2n ** 22n)),
    ['BACKEND_UNAVAILABLE'],
    ['memory ran out', 'smaller batch'],
  );
  expect((await program.run(size(2n))).y!.shape).toEqual([]);
  await backend.dispose();
});
