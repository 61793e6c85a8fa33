import { createGraph, createOps, f32, type Graph, gradients, tensor, tensorRef } from '@peftjs/core';
import { tensorOf } from '@peftjs/testkit';
import { memory } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { tfjs } from '../src/index.js';
import { present } from './devices.js';

const weight = tensorRef(tensorOf('f32', [5, 4], 'away', 'table'));

/** A step of gradient descent on the rows of an embedding, with a state that is carried and one that passes through. */
function descent(): Graph {
  const graph = createGraph('descent');
  const ops = createOps(graph);
  const ids = ops.input('ids', 'i64', ['batch']);
  const w = ops.input('w', 'f32', [4, 3]);
  const kept = ops.input('kept', 'f32', []);
  const rows = ops.gather(ops.weight('table', weight), ids);
  const [, part] = ops.split(ops.tanh(ops.gemm(rows, w)), 1, [1, 2]);
  const loss = ops.output(ops.sum(ops.mul(part!, part!), [0, 1], { keepdims: false }), 'loss');
  const [slope] = gradients(graph, loss, [w]);
  ops.output(ops.sub(w, ops.mul(slope!, 0.01)), 'next w');
  ops.output(kept);
  return graph;
}

const carry = { 'next w': 'w', kept: 'kept' };
const feeds = (batch: number) => ({
  ids: tensor(
    'i64',
    [batch],
    BigInt64Array.from({ length: batch }, (_, i) => BigInt(i % 5)),
  ),
});

describe.each(present)('tensors on %s', (device) => {
  it('stay the same in number over a thousand runs, and are gone after disposal', async () => {
    const backend = tfjs({ device });
    await backend.capabilities();
    const before = memory().numTensors;
    const program = await backend.compile(descent(), { carry });
    await program.write('w', tensorOf('f32', [4, 3], 'away', 'w'));
    await program.write('kept', f32([], [7]));
    const first = (await program.run(feeds(3))).loss!.data[0]!;
    const during = { tensors: memory().numTensors, bytes: memory().numBytes };
    let last = first;
    for (let i = 0; i < 1000; i++) {
      last = (await program.run(feeds(3))).loss!.data[0]!;
      if (i % 50 === 0) await program.read('w');
    }
    expect({ tensors: memory().numTensors, bytes: memory().numBytes }).toEqual(during);
    expect(Number(last)).toBeLessThan(Number(first));
    expect((await program.read('kept')).data[0]).toBe(7);
    await backend.dispose();
    expect(memory().numTensors).toBe(before);
  });

  it('do not pile up when a run fails in the middle', async () => {
    const backend = tfjs({ device });
    const program = await backend.compile(descent(), { carry });
    await program.write('w', tensorOf('f32', [4, 3], 'away', 'w'));
    await program.write('kept', f32([], [7]));
    await program.run(feeds(2));
    const before = memory().numTensors;
    const outside = { ids: tensor('i64', [1], BigInt64Array.of(99n)) };
    for (let i = 0; i < 3; i++) await expect(program.run(outside)).rejects.toThrow(/Gather.*99.*axis of 5/);
    expect(memory().numTensors).toBe(before);
    await program.run(feeds(2));
    await backend.dispose();
  });

  it('of a weight are one for all programs that are open', async () => {
    const backend = tfjs({ device });
    await backend.capabilities();
    const before = memory();
    const programs = await Promise.all([1, 2, 3].map(() => backend.compile(descent(), { carry })));
    expect(memory().numTensors - before.numTensors).toBe(1);
    expect(memory().numBytes - before.numBytes).toBe(5 * 4 * 4);
    await programs[0]!.dispose();
    await programs[1]!.dispose();
    expect(memory().numTensors - before.numTensors).toBe(1);
    await programs[2]!.dispose();
    expect(memory().numTensors).toBe(before.numTensors);
  });

  it('are let go of when a compilation fails or is cancelled', async () => {
    const backend = tfjs({ device });
    await backend.capabilities();
    const before = memory().numTensors;
    const graph = descent();
    const ops = createOps(graph);
    const broken = { ...weight, read: () => Promise.reject(new Error('the disk is gone')) };
    ops.output(ops.neg(ops.weight('broken', broken)));
    await expect(backend.compile(graph)).rejects.toThrow('the disk is gone');
    await expect(backend.compile(descent(), { signal: AbortSignal.abort() })).rejects.toThrow(/cancelled/);
    expect(memory().numTensors).toBe(before);
  });
});
