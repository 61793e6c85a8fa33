import { sameShape } from '../graph/dim.js';
import type { Attribute, Node, ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';

export interface RuleContext {
  readonly ops: Ops;
  readonly node: Node;
  /** Inputs by place; an omitted optional one is undefined. */
  readonly x: readonly ShapedValue[];
  /** Outputs by place. */
  readonly y: readonly ShapedValue[];
  /** Gradient of the first output. */
  readonly dy: ShapedValue;
  /** Gradients of all outputs; undefined where nothing flows. */
  readonly dys: readonly (ShapedValue | undefined)[];
  /** Which inputs want a gradient. */
  readonly needs: readonly boolean[];
}

/** The vector-Jacobian product of one operation: gradients of the inputs, by place. */
export type Rule = (context: RuleContext) => readonly (ShapedValue | undefined)[];

export type Rules = Readonly<Record<string, Rule>>;

export function intOf(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function floatOf(node: Node, name: string, fallback: number): number {
  const attribute: Attribute | undefined = node.attributes[name];
  return attribute?.type === 'float' ? attribute.value : fallback;
}

/** The integers of an operand that the graph holds as a constant (axes of a reduction). */
export function constantInts(ops: Ops, value: ShapedValue | undefined): number[] | undefined {
  const tensor = value && ops.graph.constants.get(value.name);
  return tensor && Array.from(tensor.data as BigInt64Array, Number);
}

/** The adjoint of broadcasting: sums `dy` over the axes along which a value of `shape` was repeated. */
export function sumTo(ops: Ops, dy: ShapedValue, x: ShapedValue): ShapedValue {
  if (sameShape(dy.shape, x.shape)) return dy;
  const extra = dy.shape.length - x.shape.length;
  const axes = dy.shape.flatMap((d, i) => (i < extra || (x.shape[i - extra] === 1 && d !== 1) ? [i] : []));
  if (axes.length === 0) return ops.reshape(dy, x.shape);
  return ops.reshape(ops.sum(dy, axes, { keepdims: true }), x.shape);
}
