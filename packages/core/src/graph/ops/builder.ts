import { PeftError } from '../../errors.js';
import type { DType, Tensor, TensorRef } from '../../tensor/tensor.js';
import { dim as canonical, type Dim, sameShape, termsOf } from '../dim.js';
import type { Attribute, Graph, Node, ShapedValue, Value } from '../graph.js';

export interface OutputSpec {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

export const int = (value: number): Attribute => ({ type: 'int', value });
export const ints = (value: readonly number[]): Attribute => ({ type: 'ints', value });
export const float = (value: number): Attribute => ({ type: 'float', value });
export const text = (value: string): Attribute => ({ type: 'string', value });

/** Appends to one graph: names, constants and run-time extents are settled here, shapes by the operations above it. */
export type Builder = ReturnType<typeof createBuilder>;

export function createBuilder(graph: Graph) {
  let scopes = '';

  function add(name: string, dtype: DType, shape: readonly Dim[]): ShapedValue {
    if (graph.values.has(name)) throw new PeftError('GRAPH_INVALID', `The graph already has a value named "${name}".`);
    const value = { name, dtype, shape: shape.map(canonical) };
    graph.values.set(name, value);
    return value;
  }

  function fresh(stem: string): string {
    const base = scopes ? `${scopes}/${stem}` : stem;
    let n = graph.values.size;
    while (graph.values.has(`${base}_${n}`)) n++;
    return `${base}_${n}`;
  }

  function node(
    op: string,
    inputs: readonly (Value | undefined)[],
    outputs: readonly OutputSpec[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): ShapedValue[] {
    const name = fresh(op);
    const made = outputs.map((o, i) => add(i === 0 ? name : `${name}.${i}`, o.dtype, o.shape));
    graph.nodes.push({ name, op, domain, inputs: [...inputs], outputs: made, attributes });
    return made;
  }

  /** A node of one output. */
  const emit = (
    op: string,
    inputs: readonly (Value | undefined)[],
    dtype: DType,
    shape: readonly Dim[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): ShapedValue => node(op, inputs, [{ dtype, shape }], attributes)[0]!;

  /** Numbers that live in the graph. The same name gives the same value: pass none for a fresh one. */
  function constant(tensor: Tensor, name?: string): ShapedValue {
    const known = name === undefined ? undefined : graph.values.get(name);
    if (known) return known as ShapedValue;
    const value = add(name ?? fresh('constant'), tensor.dtype, tensor.shape);
    graph.constants.set(value.name, tensor);
    return value;
  }

  function scalar(number: number, dtype: DType = 'f32'): ShapedValue {
    const data =
      dtype === 'i64'
        ? BigInt64Array.of(BigInt(number))
        : dtype === 'f64'
          ? Float64Array.of(number)
          : dtype === 'i32'
            ? Int32Array.of(number)
            : Float32Array.of(number);
    if (!['i64', 'f64', 'i32', 'f32'].includes(dtype))
      throw new PeftError('GRAPH_INVALID', `A scalar constant of type ${dtype} is not available: cast an f32 one.`);
    return constant({ dtype, shape: [], data }, `const:${dtype}:${Object.is(number, -0) ? '-0' : number}`);
  }

  const i64 = (values: readonly number[]): ShapedValue =>
    constant(
      { dtype: 'i64', shape: [values.length], data: BigInt64Array.from(values, BigInt) },
      `const:i64:[${values.join(',')}]`,
    );

  function symbol(name: string): ShapedValue {
    const key = `dim:${name}`;
    const known = graph.values.get(key);
    if (known) return known as ShapedValue;
    for (const input of graph.inputs) {
      const axis = input.shape?.indexOf(name) ?? -1;
      if (axis < 0) continue;
      const value = add(key, 'i64', [1]);
      const attributes = { start: int(axis), end: int(axis + 1) };
      graph.nodes.push({ name: key, op: 'Shape', domain: '', inputs: [input], outputs: [value], attributes });
      return value;
    }
    throw new PeftError(
      'GRAPH_INVALID',
      `No graph input has an axis of extent "${name}", so it is unknown at run time.`,
    );
  }

  /** An extent at run time: i64 [1]. */
  function dim(extent: Dim): ShapedValue {
    const wanted = canonical(extent);
    if (typeof wanted === 'number') return i64([wanted]);
    const key = `dim:${wanted}`;
    const known = graph.values.get(key);
    if (known) return known as ShapedValue;
    const terms = termsOf(wanted);
    if (terms.length === 1 && terms[0]!.coefficient === 1 && terms[0]!.symbols.length === 1) return symbol(wanted);
    const sum = terms
      .map(({ coefficient, symbols }) => {
        const factors = symbols.map(symbol);
        if (coefficient !== 1 || factors.length === 0) factors.push(i64([coefficient]));
        return factors.reduce((a, b) => emit('Mul', [a, b], 'i64', [1]));
      })
      .reduce((a, b) => emit('Add', [a, b], 'i64', [1]));
    const value = add(key, 'i64', [1]);
    graph.nodes.push({ name: key, op: 'Identity', domain: '', inputs: [sum], outputs: [value], attributes: {} });
    return value;
  }

  /** A shape at run time: i64 [rank], a constant when every extent is a number. */
  function shape(dims: readonly Dim[]): ShapedValue {
    if (dims.every((d): d is number => typeof d === 'number')) return i64(dims);
    const key = `shape:[${dims.join(',')}]`;
    const known = graph.values.get(key);
    if (known) return known as ShapedValue;
    const parts = dims.map(dim);
    const value = add(key, 'i64', [dims.length]);
    const attributes = { axis: int(0) };
    graph.nodes.push({ name: key, op: 'Concat', domain: '', inputs: parts, outputs: [value], attributes });
    return value;
  }

  function input(name: string, dtype: DType, dims: readonly Dim[]): ShapedValue {
    const value = add(name, dtype, dims);
    graph.inputs.push(value);
    return value;
  }

  /** A frozen weight: a reference under its parameter path. The same path gives the same value. */
  function weight(name: string, ref: TensorRef): ShapedValue {
    const known = graph.values.get(name);
    if (known) return known as ShapedValue;
    // Half-precision weights enter the graph widened: backends widen once, outside the graph.
    const dtype = ref.dtype === 'f16' || ref.dtype === 'bf16' ? 'f32' : ref.dtype;
    const value = add(name, dtype, ref.shape);
    graph.weights.set(name, ref);
    return value;
  }

  /** Declares an output of the graph; under another name it passes through an Identity. */
  function output(value: ShapedValue, name = value.name): ShapedValue {
    let result = value;
    if (name !== value.name) {
      result = add(name, value.dtype, value.shape);
      graph.nodes.push({ name, op: 'Identity', domain: '', inputs: [value], outputs: [result], attributes: {} });
    }
    graph.outputs.push(result);
    return result;
  }

  function scope<T>(name: string, build: () => T): T {
    const outer = scopes;
    scopes = outer ? `${outer}/${name}` : name;
    try {
      return build();
    } finally {
      scopes = outer;
    }
  }

  /** Adds an output to a node already there (LayerNormalization's statistics, asked for by its gradient). */
  function extend(target: Node, at: number, spec: OutputSpec): ShapedValue {
    const known = target.outputs[at];
    if (known) return known as ShapedValue;
    const value = add(`${target.name}.${at}`, spec.dtype, spec.shape);
    target.outputs[at] = value;
    return value;
  }

  return { graph, node, emit, constant, scalar, i64, dim, shape, input, weight, output, scope, extend };
}

/** @throws PeftError GRAPH_INVALID naming what was built */
export function requireShape(value: ShapedValue, shape: readonly Dim[], where: string): void {
  if (!sameShape(value.shape, shape))
    throw new PeftError('GRAPH_INVALID', `${where}: "${value.name}" has shape [${value.shape}], needed is [${shape}].`);
}

/** A non-negative axis. */
export function axisOf(axis: number, rank: number, where: string): number {
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(at) || at < 0 || at >= rank)
    throw new PeftError('GRAPH_INVALID', `${where}: axis ${axis} is outside a value of rank ${rank}.`);
  return at;
}
