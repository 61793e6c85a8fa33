import { createGraph, createOps, f32, type Graph, select } from '@peftjs/core';
import { expect, it } from 'vitest';
import { createEstimate } from '../src/backend/memory.js';

function graphOf(build: (ops: ReturnType<typeof createOps>) => void): Graph {
  const graph = createGraph('estimated');
  build(createOps(graph));
  return graph;
}

const rows = (count: number) => ({ x: f32([count, 8], new Float32Array(count * 8)) });
const estimated = (graph: Graph, count: number) => createEstimate(select(graph, {}))(rows(count));

it('counts what is alive at once: a chain takes one value beside the feed, however long it is', () => {
  const chain = graphOf((ops) => {
    let x = ops.input('x', 'f32', ['n', 8]);
    for (let i = 0; i < 10; i++) x = ops.tanh(x);
    ops.output(x, 'y');
  });
  expect(estimated(chain, 3)).toBe(2 * 3 * 8 * 4);
  expect(estimated(chain, 300)).toBe(2 * 300 * 8 * 4);
});

it('keeps what is read later', () => {
  const graph = graphOf((ops) => {
    const a = ops.tanh(ops.input('x', 'f32', ['n', 8]));
    const b = ops.exp(a);
    const c = ops.exp(b); // a and b wait for the sums below
    ops.output(ops.add(ops.add(c, b), a), 'y');
  });
  expect(estimated(graph, 5)).toBe(4 * 5 * 8 * 4);
});

it('gives another shape for nothing, and multiplies symbols out', () => {
  const graph = graphOf((ops) => {
    const x = ops.input('x', 'f32', ['n', 8]);
    const y = ops.tanh(x);
    ops.output(ops.reshape(ops.reshape(y, ['4*n', 2]), ['n', 8]), 'same');
    ops.output(ops.gemm(x, x, undefined, { transB: true }), 'square'); // [n, n]
  });
  expect(estimated(graph, 6)).toBe((2 * 6 * 8 + 6 * 6) * 4);
});
