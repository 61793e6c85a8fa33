import type { Graph, Node, Value } from '../../graph/graph.js';
import { beforeQuantizing, type Links, type Operand, through, weightOf } from './operands.js';

/** A product of a value with a stored weight, whatever the operations that compute it. */
export interface Product {
  readonly kind: 'linear' | 'embedding';
  readonly x: Value;
  readonly y: Value;
  readonly weight: string;
  readonly in: number;
  readonly out: number;
  /** The channels of x lie on its last axis but one: `Gemm` with transA, and products with the weight on the left. */
  readonly columns: boolean;
  /** The same of y. */
  readonly columnsOut: boolean;
}

type Reading = (node: Node, graph: Graph, links: Links) => Product | undefined;

const flag = (node: Node, name: string): boolean => {
  const given = node.attributes[name];
  return given?.type === 'int' && given.value !== 0;
};

const extent = (node: Node, name: string): number | undefined => {
  const given = node.attributes[name];
  return given?.type === 'int' ? given.value : undefined;
};

/** y = x W with W [in, out]; `turned` when it lies as [out, in]. */
function linear(
  x: Value | undefined,
  weight: Operand | undefined,
  y: Value | undefined,
  { turned = false, columns = false, columnsOut = false } = {},
): Product | undefined {
  if (!x || !weight || !y || weight.shape.length !== 2) return undefined;
  const [first, last] = weight.shape as [number, number];
  const [inside, out] = turned ? [last, first] : [first, last];
  return { kind: 'linear', x, y, weight: weight.name, in: inside, out, columns, columnsOut };
}

/** Operations, by domain and name, whose one operand is a weight. */
const readings: Readonly<Record<string, Reading>> = {
  '/MatMul'(node, graph, links) {
    const [left, right] = node.inputs;
    const [w, v] = [weightOf(right, graph, links), weightOf(left, graph, links)];
    if (w && v) return undefined; // both are stored: it does not depend on the input
    if (w) return linear(left && beforeQuantizing(left, links), w, node.outputs[0]);
    const sides = { turned: true, columns: true, columnsOut: true }; // y = W x
    return linear(right && beforeQuantizing(right, links), v, node.outputs[0], sides);
  },

  '/Gemm'(node, graph, links) {
    const [x, w] = node.inputs;
    const sides = { turned: flag(node, 'transB'), columns: flag(node, 'transA') };
    return linear(x && beforeQuantizing(x, links), weightOf(w, graph, links), node.outputs[0], sides);
  },

  '/MatMulInteger'(node, graph, links) {
    const [x, w] = node.inputs;
    return linear(
      x && beforeQuantizing(x, links),
      weightOf(w, graph, links),
      through(node.outputs[0], ['Cast', 'Mul'], links),
    );
  },

  '/QLinearMatMul'(node, graph, links) {
    const [x, , , w] = node.inputs;
    return linear(
      x && beforeQuantizing(x, links),
      weightOf(w, graph, links),
      through(node.outputs[0], ['DequantizeLinear'], links),
    );
  },

  'com.microsoft/MatMulNBits'(node, graph, links) {
    const [x, w] = node.inputs;
    const [k, n] = [extent(node, 'K'), extent(node, 'N')];
    const packed = weightOf(w, graph, links);
    if (!packed || k === undefined || n === undefined) return undefined;
    return linear(x, { name: packed.name, shape: [k, n] }, node.outputs[0]);
  },

  '/Gather'(node, graph, links) {
    const [table, ids] = node.inputs;
    const weight = weightOf(table, graph, links);
    const own = node.outputs[0];
    const y = table && links.producer.has(table) ? own : (through(own, ['DequantizeLinear'], links) ?? own);
    if (!ids || !y || weight?.shape.length !== 2 || (extent(node, 'axis') ?? 0) !== 0) return undefined;
    const [rows, dim] = weight.shape as [number, number];
    return {
      kind: 'embedding',
      x: ids,
      y,
      weight: weight.name,
      in: rows,
      out: dim,
      columns: false,
      columnsOut: false,
    };
  },
};

/** The product that a node computes with a stored weight; undefined when it computes something else. */
export const productOf: Reading = (node, graph, links) => readings[`${node.domain}/${node.op}`]?.(node, graph, links);
