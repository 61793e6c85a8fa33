import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDim, broadcast, divDim, mulDim, sizeOf, subDim } from '../src/graph/dim.js';
import { cloneGraph, promoteWeight, prune, replaceUses, sortNodes } from '../src/graph/edit.js';
import { createGraph } from '../src/graph/graph.js';
import { createOps } from '../src/graph/ops.js';
import { optimize } from '../src/graph/passes/optimize.js';

describe('extents', () => {
  const extent = fc.oneof(
    fc.integer({ min: 0, max: 9 }),
    fc.constantFrom('batch', 'length', 'batch*length', '2*length', 'length+past', 'length+1'),
  );

  it('have one text for one polynomial', () => {
    expect(addDim('past', 'length')).toBe('length+past');
    expect(mulDim('length', 'batch')).toBe('batch*length');
    expect(mulDim(addDim('b', 1), addDim('a', 2))).toBe('a+a*b+2*b+2');
    expect(subDim('length', 'length')).toBe(0);
    expect(sizeOf(['batch', 3, 'length', 2])).toBe('6*batch*length');
  });

  it('form a commutative ring', () => {
    fc.assert(
      fc.property(extent, extent, extent, (a, b, c) => {
        expect(addDim(a, b)).toBe(addDim(b, a));
        expect(mulDim(a, mulDim(b, c))).toBe(mulDim(mulDim(a, b), c));
        expect(mulDim(a, addDim(b, c))).toBe(addDim(mulDim(a, b), mulDim(a, c)));
        expect(subDim(addDim(a, b), b)).toBe(addDim(a, 0));
      }),
    );
  });

  it('divide by a monomial or say that they do not', () => {
    expect(divDim('batch*length', 'length')).toBe('batch');
    expect(divDim('6*batch', 4)).toBeUndefined();
    expect(divDim('length+1', 'length')).toBeUndefined();
  });

  it('broadcast only where one of them is 1', () => {
    expect(broadcast(['batch', 1, 3], [2, 3], 'test')).toEqual(['batch', 2, 3]);
    expect(() => broadcast(['batch'], ['length'], 'test')).toThrow(/batch against length/);
  });
});

describe('operations', () => {
  it('refuse a convolution that does not fit, with both shapes', () => {
    const ops = createOps(createGraph('convolution'));
    const x = ops.input('x', 'f32', ['batch', 4, 6, 6]);
    const w = ops.input('w', 'f32', [3, 4, 2, 2]);
    expect(ops.conv2d(x, w, undefined, { strides: [2, 2] }).shape).toEqual(['batch', 3, 3, 3]);
    const shapes = String.raw`"x" \[batch,4,6,6\] with the weight "w" \[3,4,2,2\]`;
    expect(() => ops.conv2d(x, w, undefined, { groups: 3 })).toThrow(new RegExp(`${shapes} does not fit in 3 groups`));
    expect(() => ops.conv2d(x, w, undefined, { dilations: [7, 1] })).toThrow(/is smaller than the kernel/);
    expect(() => ops.conv2d(ops.input('rows', 'f32', ['batch', 4]), w)).toThrow(/"rows".*needs four axes/);
    const free = ops.input('free', 'f32', ['batch', 4, 'height', 6]);
    expect(() => ops.conv2d(free, w)).toThrow(/the extent "height"/);
    const y = ops.input('y', 'f32', ['batch', 3, 3, 3]);
    expect(ops.convTranspose2d(y, w, [7, 6], { strides: [2, 2] }).shape).toEqual(['batch', 4, 7, 6]);
    expect(() => ops.convTranspose2d(y, w, [8, 6], { strides: [2, 2] })).toThrow(/a picture of \[8,6\]/);
    expect(() => ops.convTranspose2d(x, w, [6, 6])).toThrow(/other channels/);
  });

  it('infer symbolic shapes', () => {
    const ops = createOps(createGraph('shapes'));
    const x = ops.input('x', 'f32', ['batch', 'length', 8]);
    const rows = ops.reshape(x, ['batch*length', 8]);
    expect(rows.shape).toEqual(['batch*length', 8]);
    expect(ops.transpose(ops.reshape(rows, ['batch', 'length', 2, 4]), [0, 2, 1, 3]).shape).toEqual([
      'batch',
      2,
      'length',
      4,
    ]);
    expect(ops.concat([x, x], 1).shape).toEqual(['batch', '2*length', 8]);
    expect(ops.slice(x, 1, 0, -1).shape).toEqual(['batch', 'length-1', 8]);
  });

  it('refuse what does not fit, naming the values', () => {
    const ops = createOps(createGraph('misfits'));
    const x = ops.input('x', 'f32', ['rows', 8]);
    const y = ops.input('y', 'f32', [7, 3]);
    expect(() => ops.matmul(x, y)).toThrow(expect.objectContaining({ code: 'GRAPH_INVALID' }));
    expect(() => ops.gemm(x, y)).toThrow(/"x".*"y"/);
    expect(() => ops.reshape(x, ['rows', 9])).toThrow(/has not the size/);
    expect(() => ops.fill(['elsewhere'], 0)).toThrow(/"elsewhere"/);
    expect(() => ops.input('x', 'f32', [1])).toThrow(/already has a value/);
  });
});

describe('edits', () => {
  function chain() {
    const graph = createGraph('chain');
    const ops = createOps(graph);
    const x = ops.input('x', 'f32', ['rows', 4]);
    const w = ops.weight('w', {
      dtype: 'f32',
      shape: [4, 4],
      read: async () => ({ dtype: 'f32', shape: [4, 4], data: new Float32Array(16) }),
    });
    const y = ops.gemm(x, w);
    const z = ops.relu(y);
    ops.output(z, 'z');
    return { graph, ops, x, w, y, z };
  }

  it('replace uses, order and prune', () => {
    const { graph, ops, y } = chain();
    const relu = graph.nodes.find((node) => node.op === 'Relu')!;
    const doubled = ops.mul(y, 2);
    replaceUses(graph, y, doubled, { except: [graph.nodes.at(-1)!] });
    sortNodes(graph);
    expect(relu.inputs[0]).toBe(doubled);
    expect(graph.nodes.map((node) => node.op)).toEqual(['Gemm', 'Mul', 'Relu', 'Identity']);
    ops.exp(doubled);
    prune(graph);
    expect(graph.nodes.map((node) => node.op)).not.toContain('Exp');
  });

  it('promote a weight once', () => {
    const { graph, w } = chain();
    expect(promoteWeight(graph, 'w')).toBe(w);
    expect(graph.inputs).toContain(w);
    expect(() => promoteWeight(graph, 'w')).toThrow(/no weight "w"/);
  });

  it('leave the original of a clone alone', () => {
    const { graph } = chain();
    const copy = cloneGraph(graph);
    copy.nodes.pop();
    copy.nodes[0]!.inputs[0] = undefined;
    expect(graph.nodes).toHaveLength(3);
    expect(graph.nodes[0]!.inputs[0]?.name).toBe('x');
  });

  it('find a cycle', () => {
    const { graph, y, z } = chain();
    graph.nodes[0]!.inputs[0] = z;
    expect(y).toBeDefined();
    expect(() => sortNodes(graph)).toThrow(/cycle/);
  });
});

describe('optimize', () => {
  it('moves numbers and sums into products', () => {
    const graph = createGraph('folds');
    const ops = createOps(graph);
    const [x, u] = [ops.input('x', 'f32', ['rows', 4]), ops.input('u', 'f32', ['rows', 2])];
    const [w, v] = [ops.input('w', 'f32', [3, 4]), ops.input('v', 'f32', [3, 2])];
    const bias = ops.input('bias', 'f32', [3]);
    const base = ops.mul(ops.gemm(x, w, bias, { transB: true }), 0.5);
    const branch = ops.gemm(ops.mul(u, 3), v, undefined, { transB: true, alpha: 2 });
    ops.output(ops.add(base, branch), 'y');
    optimize(graph);
    expect(graph.nodes.map((node) => node.op)).toEqual(['Gemm', 'Gemm', 'Identity']);
    const [first, second] = graph.nodes;
    expect(first!.attributes).toMatchObject({ alpha: { value: 0.5 }, beta: { value: 0.5 } });
    expect(second!.attributes).toMatchObject({ alpha: { value: 6 } });
    expect(second!.inputs.map((value) => value?.name)).toEqual(['u', 'v', first!.outputs[0]!.name]);
  });

  it('keeps what somebody else reads', () => {
    const graph = createGraph('shared');
    const ops = createOps(graph);
    const [x, w] = [ops.input('x', 'f32', ['rows', 4]), ops.input('w', 'f32', [4, 4])];
    const y = ops.gemm(x, w);
    ops.output(ops.mul(y, 2), 'twice');
    ops.output(ops.add(y, x), 'sum');
    optimize(graph);
    expect(graph.nodes.filter((node) => node.op === 'Mul')).toHaveLength(1);
    expect(graph.nodes.filter((node) => node.op === 'Add')).toHaveLength(1);
  });
});
