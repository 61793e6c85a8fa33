import {
  createGraph,
  createOps,
  type Dim,
  type DType,
  type Graph,
  gradients,
  isFloat,
  type Ops,
  type ShapedValue,
  type Tensor,
  termsOf,
} from '@peftjs/core';
import { type Fill, tensorOf } from '../numbers.js';

export interface CaseInput {
  readonly dtype?: DType; // default f32
  readonly shape: readonly Dim[];
  readonly fill?: Fill; // default `away`
  /** A float input that no gradient is asked for. */
  readonly frozen?: boolean;
}

type Built = ShapedValue | readonly ShapedValue[];

/** One small graph. The symbols of its shapes are `batch` and `length`; it must hold for any extents of them. */
export interface Case {
  readonly name: string;
  readonly inputs: Readonly<Record<string, CaseInput>>;
  build(ops: Ops, inputs: Readonly<Record<string, ShapedValue>>): Built;
  /** Nothing flows back: only the forward result is compared. */
  readonly forwardOnly?: boolean;
}

/** Extents to run every case with, one after the other through the same program. */
export const bindings: readonly Readonly<Record<string, number>>[] = [
  { batch: 2, length: 3 },
  { batch: 5, length: 4 },
];

export interface BuiltCase {
  readonly graph: Graph;
  /** The scalar that gradients are taken of: the inner product of all float outputs with fed cotangents. */
  readonly loss: ShapedValue | undefined;
  readonly outputs: readonly ShapedValue[];
  readonly wrt: readonly ShapedValue[];
  feeds(binding: Readonly<Record<string, number>>): Record<string, Tensor>;
}

/** The numbers that the extents of a shape are under a binding of its symbols. */
const extents = (shape: readonly Dim[], binding: Readonly<Record<string, number>>): number[] =>
  shape.map((dim) =>
    termsOf(dim).reduce((sum, { coefficient, symbols }) => {
      return sum + symbols.reduce((product, symbol) => product * binding[symbol]!, coefficient);
    }, 0),
  );

/** The graph of a case, without gradients. Outputs are `y0`, `y1`, ... */
export function buildCase(test: Case): BuiltCase {
  const graph = createGraph(test.name);
  const ops = createOps(graph);
  const declared = new Map<string, CaseInput>(Object.entries(test.inputs));
  const input = (name: string, { dtype = 'f32', shape }: CaseInput) => ops.input(name, dtype, shape);
  const values = Object.fromEntries([...declared].map(([name, spec]) => [name, input(name, spec)]));
  const outputs = [test.build(ops, values)].flat().map((value, i) => ops.output(value, `y${i}`));

  const parts = outputs.flatMap((y, i) => {
    if (test.forwardOnly || !isFloat(y.dtype)) return [];
    const cotangent: CaseInput = { shape: y.shape, frozen: true };
    declared.set(`cotangent${i}`, cotangent);
    const product = ops.mul(y, input(`cotangent${i}`, cotangent));
    return [y.shape.length ? ops.sum(product, [...y.shape.keys()], { keepdims: false }) : product];
  });
  const loss =
    parts.length > 0
      ? ops.output(
          parts.reduce((a, b) => ops.add(a, b)),
          'loss',
        )
      : undefined;
  const trainable = ([, { dtype = 'f32', frozen }]: [string, CaseInput]) => isFloat(dtype) && !frozen;
  return {
    graph,
    loss,
    outputs,
    wrt: loss ? [...declared].filter(trainable).map(([name]) => values[name]!) : [],
    feeds: (binding) =>
      Object.fromEntries(
        [...declared].map(([name, { dtype = 'f32', shape, fill = 'away' }]) => {
          return [name, tensorOf(dtype, extents(shape, binding), fill, `${test.name}/${name}`)];
        }),
      ),
  };
}

/** The operations that lie between the trained inputs and the loss of a case. */
export function differentiated({ graph, loss, wrt }: BuiltCase): Set<string> {
  const dependent = new Set<unknown>(wrt);
  const found = new Set<string>();
  if (!loss) return found;
  for (const node of graph.nodes) {
    if (!node.inputs.some((input) => dependent.has(input))) continue;
    found.add(node.op);
    for (const output of node.outputs) if (output && isFloat(output.dtype)) dependent.add(output);
  }
  return found;
}

/** The case with the gradient of its loss for each trained input appended, as outputs `d NAME`. */
export function withGradients(built: BuiltCase): BuiltCase {
  if (!built.loss || built.wrt.length === 0) return built;
  const ops = createOps(built.graph);
  for (const [i, g] of gradients(built.graph, built.loss, built.wrt).entries())
    ops.output(g, `d ${built.wrt[i]!.name}`);
  return built;
}
