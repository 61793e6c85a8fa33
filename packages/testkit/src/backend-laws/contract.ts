import {
  type Backend,
  cast,
  createGraph,
  createOps,
  type DType,
  f32,
  type Graph,
  type ShapedValue,
  type Tensor,
  tensor,
  tensorRef,
} from '@peftjs/core';
import { expectBitEqual, expectClose } from '../allclose.js';
import { expectPeftError, type Law } from '../law.js';
import { tensorOf } from '../numbers.js';

type Build = (ops: ReturnType<typeof createOps>) => ShapedValue;

function graphOf(build: Build): Graph {
  const graph = createGraph('contract');
  const ops = createOps(graph);
  ops.output(build(ops), 'y');
  return graph;
}

const doubled = () => graphOf((ops) => ops.mul(ops.input('x', 'f32', ['batch', 2]), 2));
const x = f32([1, 2], [1, 2]);

const samples: Readonly<Partial<Record<DType, Tensor>>> = {
  f32: f32([2, 2], [1.5, -0, Number.POSITIVE_INFINITY, 3e-39]),
  i64: tensor('i64', [3], BigInt64Array.of(2n ** 53n - 1n, -100n, 0n)),
  i32: tensor('i32', [2], Int32Array.of(-(2 ** 31), 2 ** 31 - 1)),
  u8: tensor('u8', [3], Uint8Array.of(0, 1, 255)),
  bool: tensor('bool', [2], Uint8Array.of(0, 1)),
  f64: tensor('f64', [2], Float64Array.of(Math.PI, -1e300)),
};

type Check = (backend: Backend) => Promise<void>;

const checks: Readonly<Record<string, Check>> = {
  async 'passes every dtype it names through unchanged'(backend) {
    const { dtypes } = await backend.capabilities();
    for (const [dtype, sample] of Object.entries(samples) as [DType, Tensor][]) {
      if (!dtypes.includes(dtype)) continue;
      const graph = graphOf((ops) => ops.identity(ops.input('x', dtype, sample.shape)));
      const program = await backend.compile(graph);
      expectBitEqual(dtype, (await program.run({ x: sample })).y!, sample);
      await program.dispose();
    }
  },
  async 'runs scalars, empty batches and single elements'(backend) {
    const program = await backend.compile(doubled());
    for (const rows of [1, 0, 3]) {
      const fed = tensorOf('f32', [rows, 2], 'away', 'rows');
      const expected = f32(
        [rows, 2],
        (fed.data as Float32Array).map((v) => v * 2),
      );
      expectBitEqual(`${rows} rows`, (await program.run({ x: fed })).y!, expected);
    }
    await program.dispose();
  },
  async 'widens half-precision weights'(backend) {
    const full = tensorOf('f32', [3, 4], 'away', 'weight');
    for (const dtype of ['f32', 'f16', 'bf16'] as const) {
      const stored = cast(full, dtype);
      const graph = graphOf((ops) => {
        const w = ops.weight('layer.weight', tensorRef(stored));
        return ops.gemm(ops.input('x', 'f32', ['batch', 4]), w, undefined, { transB: true });
      });
      const program = await backend.compile(graph);
      const eye = f32(
        [4, 4],
        Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
      );
      const { y } = await program.run({ x: eye });
      const wide = cast(stored, 'f32').data;
      const expected = f32(
        [4, 3],
        Array.from({ length: 12 }, (_, i) => Number(wide[(i % 3) * 4 + Math.floor(i / 3)])),
      );
      expectClose(`${dtype} weight`, y!, expected, { absolute: 1e-6 });
      await program.dispose();
    }
  },
  async 'gives the same bits for the same feeds'(backend) {
    const graph = graphOf((ops) =>
      ops.softmax(ops.matmul(ops.input('x', 'f32', ['batch', 64]), ops.input('w', 'f32', [64, 64]))),
    );
    const program = await backend.compile(graph);
    const feeds = { x: tensorOf('f32', [9, 64], 'away', 'x'), w: tensorOf('f32', [64, 64], 'away', 'w') };
    const [one, two] = [await program.run(feeds), await program.run(feeds)];
    expectBitEqual('second run', two.y!, one.y!);
    await program.dispose();
  },
  async 'returns the asked outputs only'(backend) {
    const graph = graphOf((ops) =>
      ops.output(ops.neg(ops.output(ops.exp(ops.input('x', 'f32', ['batch', 2])), 'e')), 'n'),
    );
    const program = await backend.compile(graph, { outputs: ['n'] });
    const outputs = Object.keys(await program.run({ x }));
    if (outputs.join() !== 'n') throw new Error(`outputs ${outputs}, asked was n`);
    await program.dispose();
  },
  async 'names a missing feed, a wrong type and a wrong shape'(backend) {
    const program = await backend.compile(doubled());
    await expectPeftError(() => program.run({}), [], ['x']);
    await expectPeftError(() => program.run({ x: tensor('i64', [1, 2], BigInt64Array.of(1n, 2n)) }), [], ['x']);
    await expectPeftError(() => program.run({ x: f32([1, 3], [1, 2, 3]) }), [], ['x']);
    expectBitEqual('y after the failures', (await program.run({ x })).y!, f32([1, 2], [2, 4]));
    await program.dispose();
  },
  async 'names an operation it does not know, and its node'(backend) {
    const graph = graphOf((ops) => {
      const input = ops.input('x', 'f32', ['batch', 2]);
      const output = { dtype: 'f32' as const, shape: input.shape };
      return ops.scope('layer.3', () => ops.node('NoSuchOperation', [input], [output]))[0]!;
    });
    await expectPeftError(() => backend.compile(graph), ['BACKEND_UNSUPPORTED'], ['NoSuchOperation', 'layer.3']);
  },
  async 'honours an aborted signal'(backend) {
    const signal = AbortSignal.abort();
    const program = await backend.compile(doubled());
    let thrown = false;
    await program.run({ x }, { signal }).catch(() => {
      thrown = true;
    });
    if (!thrown) throw new Error('a run with an aborted signal gave a result');
    await program.dispose();
  },
  async 'a disposed program refuses to run, and can be disposed again'(backend) {
    const program = await backend.compile(doubled());
    await program.dispose();
    await program.dispose();
    await expectPeftError(() => program.run({ x }));
  },
};

export const contractLaws = (backend: () => Promise<Backend>): Law[] =>
  Object.entries(checks).map(([name, check]) => ({ name, check: async () => check(await backend()) }));
