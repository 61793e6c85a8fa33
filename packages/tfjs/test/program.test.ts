import { createGraph, createOps, f32, type Graph, tensor } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { tfjs } from '../src/index.js';
import { present } from './devices.js';

function graphOf(build: (ops: ReturnType<typeof createOps>) => void): Graph {
  const graph = createGraph('graph');
  build(createOps(graph));
  return graph;
}

const rows = f32([2, 3], [1, 9, 2, 7, 3, 5]);

describe.each(present)('a program on %s', (device) => {
  const backend = tfjs({ device });

  it('takes indices that the device computed', async () => {
    const program = await backend.compile(
      graphOf((ops) => {
        const x = ops.input('x', 'f32', [2, 3]);
        const best = ops.argmax(x, 1); // 1, 0
        const last = ops.sub(best, 1); // 0, -1: from the end
        ops.output(ops.gather(x, last, 1), 'gathered');
        ops.output(ops.gatherElements(x, ops.unsqueeze(last, [1]), 1), 'elements');
        ops.output(ops.scatterAdd(x, last, x), 'scattered');
      }),
    );
    const { gathered, elements, scattered } = await program.run({ x: rows });
    expect(gathered).toEqual(f32([2, 2], [1, 2, 7, 5]));
    expect(elements).toEqual(f32([2, 1], [1, 5]));
    expect(scattered).toEqual(f32([2, 3], [2, 18, 4, 14, 6, 10]));
  });

  it('takes extents that the device computed, or says that it cannot', async () => {
    const program = await backend.compile(
      graphOf((ops) => {
        const end = ops.sum(ops.argmax(ops.input('x', 'f32', [2, 3]), 1), [0], { keepdims: false });
        const range = [ops.scalar(0, 'i64'), end, ops.scalar(1, 'i64')];
        ops.output(ops.node('Range', range, [{ dtype: 'i64', shape: ['n'] }])[0]!, 'range');
      }),
    );
    const canWait = device !== 'webgpu' || 'OffscreenCanvas' in globalThis;
    const run = program.run({ x: rows });
    if (canWait) expect((await run).range).toEqual(tensor('i64', [1], BigInt64Array.of(0n)));
    else await expectPeftError(() => run, ['BACKEND_UNSUPPORTED'], ['Range', 'cannot be waited for']);
  });

  it('gives back a feed, a constant and a weight that are outputs themselves', async () => {
    const program = await backend.compile(
      graphOf((ops) => {
        ops.output(ops.input('x', 'f32', [2, 3]));
        ops.output(ops.constant(f32([1], [4]), 'four'));
        ops.output(ops.neg(ops.input('y', 'f32', ['n'])), 'unread');
      }),
      { outputs: ['x', 'four'] },
    );
    const { x, four } = await program.run({ x: rows });
    expect(x).toEqual(rows);
    expect(x!.data).not.toBe(rows.data);
    expect(four).toEqual(f32([1], [4]));
  });

  it('returns the state that it started from beside the next one', async () => {
    const program = await backend.compile(
      graphOf((ops) => {
        const count = ops.output(ops.input('count', 'f32', [1]));
        ops.output(ops.add(count, 1), 'next');
      }),
      { carry: { next: 'count' }, outputs: ['count', 'next'] },
    );
    await program.write('count', f32([1], [0]));
    for (const n of [0, 1, 2]) expect(await program.run({})).toEqual({ count: f32([1], [n]), next: f32([1], [n + 1]) });
    await program.dispose();
  });

  it('keeps what was returned and what was fed apart from its state', async () => {
    const program = await backend.compile(
      graphOf((ops) => {
        ops.input('state', 'f32', [2]);
        ops.output(ops.identity(ops.input('x', 'f32', [2])), 'next');
      }),
      { carry: { next: 'state' }, outputs: ['next'] },
    );
    const x = f32([2], [1, 2]);
    await program.write('state', x);
    const { next } = await program.run({ x });
    for (const { data } of [x, next!, await program.read('state')]) (data as Float32Array).fill(0);
    expect(await program.read('state')).toEqual(f32([2], [1, 2]));
  });
});

it('programs on several devices run side by side', async () => {
  const backends = present.map((device) => tfjs({ device }));
  const programs = await Promise.all(
    backends.map((backend) =>
      backend.compile(graphOf((ops) => ops.output(ops.mul(ops.input('x', 'f32', ['n']), 3), 'y'))),
    ),
  );
  const runs = [1, 2, 3].flatMap((x) =>
    programs.map(async (program) => (await program.run({ x: f32([1], [x]) })).y!.data[0]),
  );
  expect(await Promise.all(runs)).toEqual([3, 6, 9].flatMap((y) => programs.map(() => y)));
  for (const backend of backends) await backend.dispose();
});
