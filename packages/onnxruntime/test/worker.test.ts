import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { createGraph, createOps, f32, type Graph, tensor, tensorRef } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { expect, it } from 'vitest';
import { onnxruntime } from '../src/index.js';
import { workerExecutor } from '../src/worker/client.js';

/** Products enough to take a while: x (W)^n. */
function slow(steps: number): Graph {
  const graph = createGraph('slow');
  const ops = createOps(graph);
  const w = ops.weight('w', tensorRef(f32([512, 512], new Float32Array(512 * 512).fill(1 / 512))));
  let x = ops.input('x', 'f32', ['batch', 512]);
  for (let i = 0; i < steps; i++) x = ops.gemm(x, w);
  ops.output(ops.identity(x), 'y');
  return graph;
}

const x = f32([512, 512], new Float32Array(512 * 512).fill(1));

it('leaves this thread free while it runs, and the feeds with their owner', async () => {
  const backend = onnxruntime({ worker: true, threads: 1 });
  const program = await backend.compile(slow(40));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const { y } = await program.run({ x });
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(5);
  expect(x.data.length).toBe(512 * 512);
  expect(Math.abs(Number(y!.data[7]) - 1)).toBeLessThan(1e-3); // 40 times the rounding of 512 additions
  await backend.dispose();
});

it('takes feeds in shared memory and views into larger arrays', async () => {
  const graph = createGraph('sum');
  const ops = createOps(graph);
  ops.output(ops.add(ops.input('a', 'f32', ['n']), ops.input('b', 'f32', ['n'])), 'y');
  const shared = new Float32Array(new SharedArrayBuffer(8));
  shared.set([1, 2]);
  const feeds = { a: tensor('f32', [2], shared), b: f32([2], Float32Array.of(9, 10, 20, 9).subarray(1, 3)) };
  for (const worker of [false, true]) {
    const backend = onnxruntime({ worker });
    const program = await backend.compile(graph);
    expect((await program.run(feeds)).y!.data).toEqual(Float32Array.of(11, 22));
    await backend.dispose();
  }
});

it('finishes what runs before it is disposed, and starts another thread for the next program', async () => {
  const backend = onnxruntime({ worker: true, threads: 1 });
  const program = await backend.compile(slow(40));
  const running = program.run({ x });
  await backend.dispose();
  expect((await running).y!.shape).toEqual([512, 512]);
  await expectPeftError(() => program.run({ x }), ['BACKEND_UNAVAILABLE'], ['compile again']);
  const next = await backend.compile(slow(1));
  expect((await next.run({ x })).y!.shape).toEqual([512, 512]);
  await backend.dispose();
});

it('fails what waits when the worker dies', async () => {
  // Opens anything, and dies of the first run.
  const script = `const { parentPort } = require('node:worker_threads');
    parentPort.on('message', ({ id, request }) => {
      if (request.method === 'run') throw new Error('out of luck');
      parentPort.postMessage({ id, result: 0 });
      if (request.method === 'end') parentPort.close();
    });`;
  let started = 0;
  const executor = workerExecutor(() => {
    started++;
    return new Worker(script, { eval: true });
  });
  const spec = { runtime: 'node', device: 'cpu', name: 'g', model: new Uint8Array(0), options: {} } as const;
  const open = () => executor.open({ ...spec, feeds: [], outputs: [], carry: {}, resident: [] });
  const session = await open();
  const reason = { code: 'BACKEND_UNAVAILABLE', message: expect.stringContaining('out of luck') };
  for (const call of await Promise.allSettled([session.run({}), session.run({})]))
    expect(call).toMatchObject({ status: 'rejected', reason });
  await expectPeftError(() => session.run({}), ['BACKEND_UNAVAILABLE'], ['compile again']);
  await (await open()).dispose();
  expect(started).toBe(2);
  await executor.dispose();
});

it('does not keep the process alive', { timeout: 60_000 }, () => {
  const program = fileURLToPath(new URL('fixtures/idle-worker.ts', import.meta.url));
  const args = ['--import', 'tsx', '--conditions=@peftjs/source', program];
  const ended = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 40_000 });
  expect(ended.stderr).toBe('');
  expect(ended.stdout.trim()).toBe('2,4');
  expect(ended.status).toBe(0);
});
