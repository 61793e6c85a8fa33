import { mkdir, mkdtemp, readdir, rm, symlink, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cast, createGraph, createOps, f32, type Graph, type TensorRef, tensorRef } from '@peftjs/core';
import { openSafetensors, writeSafetensors } from '@peftjs/core/files';
import { expectClose } from '@peftjs/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { onnxruntime } from '../src/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peftjs ü '));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const size = 160; // 100 KiB in f32: above what is inlined
const numbers = (seed: number) =>
  f32(
    [size, size],
    Float32Array.from({ length: size * size }, (_, i) => ((i * seed) % 17) / 16),
  );

/** y = x Aᵀ Bᵀ */
function chain(a: TensorRef, b: TensorRef): Graph {
  const graph = createGraph('chain');
  const ops = createOps(graph);
  const x = ops.input('x', 'f32', ['batch', size]);
  const h = ops.gemm(x, ops.weight('a', a), undefined, { transB: true });
  ops.output(ops.gemm(h, ops.weight('b', b), undefined, { transB: true }), 'y');
  return graph;
}

const x = f32([2, size], numbers(5).data.subarray(0, 2 * size));

async function run(graph: Graph, options = {}) {
  const backend = onnxruntime({ cacheDir: join(folder, 'cache'), ...options });
  const program = await backend.compile(graph);
  const { y } = await program.run({ x });
  await backend.dispose();
  return y!;
}

const cached = async () => (await readdir(join(folder, 'cache', 'weights')).catch(() => [])).sort();

async function stored(path: string, dtype: 'f32' | 'f16' | 'bf16', seed: number): Promise<TensorRef> {
  await writeSafetensors(
    path,
    new Map([
      ['odd', tensorRef(f32([1], [0]))],
      ['w', tensorRef(cast(numbers(seed), dtype))],
    ]),
  );
  return (await openSafetensors(path)).tensors.get('w')!;
}

it('maps weights of several folders, through links, and needs no cache for them', async () => {
  await mkdir(join(folder, 'one', 'deep'), { recursive: true });
  const a = await stored(join(folder, 'one', 'deep', 'a.safetensors'), 'f32', 3);
  await stored(join(folder, 'b.safetensors'), 'f32', 7);
  await symlink(join(folder, 'b.safetensors'), join(folder, 'one', 'link.safetensors'));
  const b = (await openSafetensors(join(folder, 'one', 'link.safetensors'))).tensors.get('w')!;
  const expected = await run(chain(tensorRef(numbers(3)), tensorRef(numbers(7))), { runtime: 'web' });
  // Sums of 160 products on two runtimes, in another order.
  expectClose('y', await run(chain(a, b)), expected, { relToMax: 2e-6 });
  expect(await cached()).toEqual([]);
});

it('widens f16 and bf16 weights into the cache once, and again when the file changes', async () => {
  const path = join(folder, 'half.safetensors');
  const a = await stored(path, 'f16', 3);
  const b = await stored(join(folder, 'brain.safetensors'), 'bf16', 7);
  const wide = chain(tensorRef(cast(cast(numbers(3), 'f16'), 'f32')), tensorRef(cast(cast(numbers(7), 'bf16'), 'f32')));
  const expected = await run(wide, { runtime: 'web' });
  expectClose('y', await run(chain(a, b)), expected, { relToMax: 2e-6 }); // as above
  const files = await cached();
  expect(files).toHaveLength(2);
  await run(chain(a, b));
  expect(await cached()).toEqual(files);
  await utimes(path, new Date(0), new Date(0));
  await run(chain((await openSafetensors(path)).tensors.get('w')!, b));
  expect(await cached()).toHaveLength(3);
});

it('keeps a cast of a half-precision weight out of the session: the widened file is mapped instead', async () => {
  const ref = await stored(join(folder, 'cast.safetensors'), 'f16', 11);
  const graph = createGraph('cast');
  const ops = createOps(graph);
  const half = { name: 'w', dtype: 'f16' as const, shape: ref.shape };
  graph.values.set('w', half);
  graph.weights.set('w', ref);
  const input = ops.input('x', 'f32', ['batch', size]);
  ops.output(ops.gemm(input, ops.cast(half, 'f32'), undefined, { transB: true }), 'y');
  const before = (await cached()).length;
  expectClose('y', await run(graph), await run(graph, { runtime: 'web' }), { relToMax: 2e-6 }); // as above
  expect(await cached()).toHaveLength(before + 1);
});

it('puts big tensors that are only in memory into the cache, and small ones into the model', async () => {
  const before = (await cached()).length;
  const small = createGraph('small');
  const ops = createOps(small);
  const bias = ops.weight('bias', tensorRef(f32([size], new Float32Array(size).fill(2))));
  ops.output(ops.add(ops.input('x', 'f32', ['batch', size]), bias), 'y');
  expect((await run(small)).data[3]).toBe(Number(x.data[3]) + 2);
  expect(await cached()).toHaveLength(before);
  await run(chain(tensorRef(numbers(13)), tensorRef(numbers(13))));
  expect(await cached()).toHaveLength(before + 1);
});
