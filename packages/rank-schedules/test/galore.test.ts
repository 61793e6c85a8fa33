import { bindMethod, createGraph, createOps, f32, matmul, matrix, type Tensor, train, transpose } from '@peftjs/core';
import { referenceBackend, tensorOf, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { projectedAdamw } from '../src/galore/optimizer.js';
import { projectorOf } from '../src/galore/projector.js';
import { type GaloreOptions, galore } from '../src/index.js';

const of = ({ shape, data }: Tensor) => matrix(shape[0]!, shape[1]!, data as Float32Array);

/** Updates of a weight by given gradients, with the optimizer's graph. */
async function updated(W: Tensor, gradients: readonly Tensor[], P: Tensor, r: number): Promise<Tensor> {
  const optimizer = projectedAdamw({ r, scale: 0.5, betas: [0.9, 0.99], eps: 1e-6, projector: 'p' });
  const graph = createGraph('update');
  const ops = createOps(graph);
  const input = (name: string, t: Tensor) => ops.input(name, 'f32', t.shape);
  let state = optimizer.init(W.shape);
  const rates = optimizer.scalars({ step: 1, rate: 0.1, decay: 0.1 });
  const next = optimizer.update(
    {
      p: input('w', W),
      g: input('g', W),
      state: { m: input('m', state.m!), v: input('v', state.v!) },
      scalars: Object.fromEntries(Object.keys(rates).map((name) => [name, ops.input(name, 'f32', [])])),
      beside: { p: input('p', P) },
    },
    ops,
  );
  const names = { w: next.p, ...next.state };
  for (const [name, value] of Object.entries(names)) ops.output(value, `next.${name}`);
  const program = await referenceBackend().compile(graph);
  let w = W;
  for (const [i, g] of gradients.entries()) {
    const scalars = Object.entries(optimizer.scalars({ step: i + 1, rate: 0.1, decay: 0.1 }));
    const numbers = Object.fromEntries(scalars.map(([name, x]) => [name, f32([], [x])]));
    const out = await program.run({ w, g, m: state.m!, v: state.v!, p: P, ...numbers });
    w = out['next.w']!;
    state = { m: out['next.m']!, v: out['next.v']! };
  }
  await program.dispose();
  return w;
}

/** The same by the paper's algorithm 2, in double precision, with the decay of AdamW. */
function byHand(W: Tensor, gradients: readonly Tensor[], P: Tensor): number[] {
  const rows = W.shape[0]! < W.shape[1]!;
  let w = [...of(W).data];
  let m: number[] = [];
  let v: number[] = [];
  gradients.forEach((g, i) => {
    const R = rows ? matmul(transpose(of(P)), of(g)) : matmul(of(g), of(P));
    m = [...R.data].map((x, k) => 0.9 * (m[k] ?? 0) + 0.1 * x);
    v = [...R.data].map((x, k) => 0.99 * (v[k] ?? 0) + 0.01 * x * x);
    const [c1, c2] = [1 - 0.9 ** (i + 1), 1 - 0.99 ** (i + 1)];
    const N = matrix(
      R.rows,
      R.columns,
      m.map((x, k) => x / c1 / (Math.sqrt(v[k]! / c2) + 1e-6)),
    );
    const back = rows ? matmul(of(P), N) : matmul(N, transpose(of(P)));
    w = w.map((x, k) => x * (1 - 0.1 * 0.1) - 0.1 * 0.5 * back.data[k]!);
  });
  return w;
}

describe('galore', () => {
  testMethod(galore, { config: { r: 2, interval: 2 }, seedless: true, training: { lr: 0.1 } });
  testMethod(galore, { config: { r: 3, save: 'replaced' }, seedless: true, training: { lr: 0.1 } });

  it.each([
    ['wide', [4, 6]],
    ['tall', [7, 5]],
  ])('updates a %s weight as the algorithm says', async (_, shape) => {
    const W = tensorOf('f32', shape, { from: -1, to: 1 }, 'w');
    const gradients = [0, 1, 2].map((i) => tensorOf('f32', shape, { from: -1, to: 1 }, `g ${i}`));
    const P = projectorOf(gradients[0]!, 2);
    const [got, want] = [await updated(W, gradients, P, 2), byHand(W, gradients, P)];
    // 1e-5: float32 against double precision, divided by small second moments.
    [...got.data].forEach((x, i) => {
      expect(Math.abs(Number(x) - want[i]!)).toBeLessThan(1e-5);
    });
  });

  it('projects to the largest singular vectors of the shorter side, with zeros where there are no more', () => {
    const G = tensorOf('f32', [3, 8], { from: -1, to: 1 }, 'G');
    const P = of(projectorOf(G, 3));
    expect([P.rows, P.columns]).toEqual([3, 3]);
    const unit = matmul(transpose(P), P);
    [...unit.data].forEach((x, i) => {
      expect(x).toBeCloseTo(i % 4 === 0 ? 1 : 0, 6);
    });
    const one = f32([4, 2], [1, 2, 2, 4, 0, 0, -1, -2]); // rank 1
    const found = projectorOf(one, 2).data as Float32Array; // entry (i, k) of 2 × 2 at 2 i + k
    expect(Math.abs(found[0]!)).toBeCloseTo(1 / Math.sqrt(5), 6);
    expect(found[2]).toBeCloseTo(2 * found[0]!, 6);
    expect([found[1], found[3]]).toEqual([0, 0]);
  });

  it('looks at the gradient again after every interval', async () => {
    const method = galore({ targetModules: ['up', 'mix'], r: 2, interval: 2 });
    const run = train(tinyModel(), { method, data: tinyRows(), backend: referenceBackend(), lr: 0.1, steps: 6 });
    const notes: number[] = [];
    for await (const event of run) if (event.type === 'step' && event.note) notes.push(event.step);
    expect(notes).toEqual([2, 4]);
    const { delta } = await run.result();
    expect([...delta.params.keys()].sort()).toEqual(['model.layers.0.up.weight', 'model.layers.1.mix.weight']);
  });

  it('refuses ranks that cannot be, and a start that nothing planned', () => {
    const bind = (options: GaloreOptions) => bindMethod(galore({ ...options, targetModules: ['up'] }), tinyModel());
    expect(() => bind({ r: 7 })).toThrow(/rank 6 at most, r is 7/);
    const { target, c } = bind({ r: 2 }).sites[0]!;
    expect(() => galore.method.init(target, c, undefined as never, {})).toThrow(/plan it first/);
    expect(() => galore({ scale: 0 })).toThrow(/scale/);
  });
});
