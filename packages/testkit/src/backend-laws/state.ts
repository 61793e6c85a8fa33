import { type Backend, createGraph, createOps, f32, type Graph, type Tensor, tensor } from '@peftjs/core';
import { expectBitEqual } from '../allclose.js';
import { expectPeftError, type Law } from '../law.js';

/** next a = b, next b = a + b: wrong at once when a new value overwrites an old one that is still to be read. */
function fibonacci(): Graph {
  const graph = createGraph('fibonacci');
  const ops = createOps(graph);
  const [a, b] = [ops.input('a', 'f32', [2]), ops.input('b', 'f32', [2])];
  ops.output(b, 'next a');
  ops.output(ops.add(a, b), 'next b');
  ops.output(ops.sum(a, [0], { keepdims: false }), 'sum');
  return graph;
}

const carry = { 'next a': 'a', 'next b': 'b' };
const vector = (...values: number[]): Tensor => f32([values.length], values);

async function started(backend: Backend) {
  const program = await backend.compile(fibonacci(), { carry });
  await program.write('a', vector(0, 1));
  await program.write('b', vector(1, 1));
  return program;
}

type Check = (backend: Backend) => Promise<void>;

const checks: Readonly<Record<string, Check>> = {
  async 'carries state from run to run, without mixing old and new'(backend) {
    const program = await started(backend);
    for (const expected of [1, 2, 3, 5, 8]) {
      const outputs = await program.run({});
      if (Object.keys(outputs).join() !== 'sum')
        throw new Error(`outputs ${Object.keys(outputs)}; only "sum" is not carried`);
      expectBitEqual('sum', outputs.sum!, tensor('f32', [], Float32Array.of(expected)));
    }
    expectBitEqual('a', await program.read('a'), vector(5, 8));
    expectBitEqual('b', await program.read('b'), vector(8, 13));
    await program.dispose();
  },
  async 'what was read stays as it was, what was written is a copy'(backend) {
    const program = await started(backend);
    const written = vector(3, 3);
    await program.write('a', written);
    (written.data as Float32Array).fill(9);
    const before = await program.read('a');
    await program.run({});
    expectBitEqual('a, read before the run', before, vector(3, 3));
    expectBitEqual('a, after the run', await program.read('a'), vector(1, 1));
    await program.dispose();
  },
  async 'writes over carried state between runs'(backend) {
    const program = await started(backend);
    await program.run({});
    await program.write('b', vector(10, 20));
    await program.run({});
    expectBitEqual('b', await program.read('b'), vector(11, 21));
    await program.dispose();
  },
  async 'two programs of one graph do not share state'(backend) {
    const [one, two] = [await started(backend), await started(backend)];
    await one.run({});
    expectBitEqual('b of the other', await two.read('b'), vector(1, 1));
    await one.dispose();
    expectBitEqual('sum after the other is gone', (await two.run({})).sum!, tensor('f32', [], Float32Array.of(1)));
    await two.dispose();
  },
  async 'refuses to run before all state is written'(backend) {
    const program = await backend.compile(fibonacci(), { carry });
    await program.write('a', vector(0, 1));
    await expectPeftError(() => program.run({}), [], ['b']);
    await program.dispose();
  },
  async 'refuses names that are not carried'(backend) {
    const program = await started(backend);
    await expectPeftError(() => program.read('sum'), [], ['sum']);
    await expectPeftError(() => program.write('nothing', vector(1, 1)), [], ['nothing']);
    await program.dispose();
  },
};

export const stateLaws = (backend: () => Promise<Backend>): Law[] =>
  Object.entries(checks).map(([name, check]) => ({ name, check: async () => check(await backend()) }));
