import type { DType, Tensor, TensorRef } from '../tensor/tensor.js';
import type { Dim } from './dim.js';

/** A symbol in a graph: never numbers. `shape` is undefined only for values of foreign graphs that nothing infers. */
export interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[] | undefined;
}

/** A value whose shape is known: every value this library emits. */
export interface ShapedValue extends Value {
  readonly shape: readonly Dim[];
}

export type Attribute =
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'ints'; readonly value: readonly number[] }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensor'; readonly value: Tensor }
  /**
   * Anything this library does not interpret (sub-graphs, sparse tensors): the encoded AttributeProto, carried through.
   * `captures` names the values outside that its sub-graphs read: these must be kept, under their names.
   */
  | { readonly type: 'opaque'; readonly bytes: Uint8Array; readonly captures?: readonly string[] };

export interface Node {
  readonly name: string;
  readonly op: string;
  /** '' is the standard domain. */
  readonly domain: string;
  inputs: (Value | undefined)[];
  readonly outputs: (Value | undefined)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** What the exporter noted (`metadata_props`): some name the module a node came from only here. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Nodes that are differentiated as one: `inputs` -> `output` with a hand-written vector-Jacobian product, for formulas
 * whose derivative is cheaper or more exact than that of their parts.
 */
export interface Macro {
  readonly inputs: readonly ShapedValue[];
  /** Gradients of `inputs` in order; undefined for one that has none. `needs[i]` says whether it is wanted. */
  vjp(dy: ShapedValue, needs: readonly boolean[]): readonly (ShapedValue | undefined)[];
}

/** An ONNX graph: nodes in topological order over named values. Built with `createOps`, transformed in place. */
export interface Graph {
  name: string;
  /** Operator set version by domain. */
  opset: Record<string, number>;
  readonly inputs: Value[];
  readonly outputs: Value[];
  nodes: Node[];
  /** Small numbers that live in the graph itself, by value name. */
  readonly constants: Map<string, Tensor>;
  /** Frozen weights by value name: references, never bytes. */
  readonly weights: Map<string, TensorRef>;
  /** Every value by name. */
  readonly values: Map<string, Value>;
  /** By output value. */
  readonly macros: Map<Value, Macro>;
  readonly metadata: Record<string, string>;
}

export const createGraph = (name: string): Graph => ({
  name,
  opset: { '': 23 },
  inputs: [],
  outputs: [],
  nodes: [],
  constants: new Map(),
  weights: new Map(),
  values: new Map(),
  macros: new Map(),
  metadata: {},
});
