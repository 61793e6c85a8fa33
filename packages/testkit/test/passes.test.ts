import { cloneGraph, createGraph, createOps, gradients, optimize, type ShapedValue } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { expectClose, referenceBackend, tensorOf } from '../src/index.js';

/** Two layers with a gelu between them, low-rank branches beside both, a classifier and its gradients. */
function trainingGraph() {
  const graph = createGraph('two layers');
  const ops = createOps(graph);
  const x = ops.input('x', 'f32', ['rows', 6]);
  const labels = ops.input('labels', 'i64', ['rows']);
  const trained: ShapedValue[] = [];
  const layer = (name: string, from: ShapedValue, width: number, out: number) => {
    const [w, b] = [ops.input(`${name}.w`, 'f32', [out, width]), ops.input(`${name}.b`, 'f32', [out])];
    const [down, up] = [ops.input(`${name}.a`, 'f32', [2, width]), ops.input(`${name}.u`, 'f32', [out, 2])];
    trained.push(down, up);
    const branch = ops.gemm(ops.gemm(from, down, undefined, { transB: true }), up, undefined, {
      transB: true,
      alpha: 4,
    });
    return ops.add(ops.gemm(from, w, b, { transB: true }), branch);
  };
  const hidden = ops.gelu(layer('first', x, 6, 8));
  const logits = layer('second', ops.add(layer('middle', ops.mul(hidden, 0.5), 8, 8), hidden), 8, 3);
  const loss = ops.crossEntropy(logits, labels, ops.scalar(0.25));
  ops.output(loss, 'loss');
  for (const [i, g] of gradients(graph, loss, trained).entries()) ops.output(g, `gradient.${i}`);
  return graph;
}

describe('optimize', () => {
  it('changes no result and leaves fewer nodes', async () => {
    const plain = trainingGraph();
    const folded = cloneGraph(plain);
    optimize(folded);
    const count = (graph: typeof plain, op: string) => graph.nodes.filter((node) => node.op === op).length;
    expect(folded.nodes.length).toBeLessThan(plain.nodes.length);
    expect(count(folded, 'Add')).toBeLessThan(count(plain, 'Add'));

    const feeds = Object.fromEntries(
      plain.inputs.map((input) => {
        const shape = input.shape!.map((d) => (d === 'rows' ? 5 : Number(d)));
        if (input.dtype === 'i64')
          return [input.name, { dtype: 'i64' as const, shape, data: BigInt64Array.of(0n, 2n, -100n, 1n, 1n) }];
        return [input.name, tensorOf('f32', shape, 'away', input.name)];
      }),
    );
    const backend = referenceBackend({ wide: true });
    const before = await (await backend.compile(plain)).run(feeds);
    const after = await (await backend.compile(folded)).run(feeds);
    expect(Object.keys(after)).toEqual(Object.keys(before));
    for (const [name, expected] of Object.entries(before))
      expectClose(name, after[name]!, expected, { relToMax: 1e-6 }); // a folded number is multiplied once where two f32 constants were rounded apart;
  });
});
