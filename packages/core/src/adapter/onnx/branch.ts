import { sortNodes } from '../../graph/edit.js';
import type { Attribute, Graph, Node, Value } from '../../graph/graph.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { OnnxSite } from './sites.js';

/** Adds to a foreign graph, whose shapes need not be known: values under free names, nodes, weights. */
export interface Editor {
  readonly graph: Graph;
  free(name: string): string;
  value(name: string, like: Pick<Value, 'dtype' | 'shape'>): Value;
  weight(name: string, ref: TensorRef): Value;
  node(name: string, op: string, inputs: readonly Value[], output: Value, attributes?: Record<string, Attribute>): void;
}

export function createEditor(graph: Graph): Editor {
  const nodeNames = new Set(graph.nodes.map(({ name }) => name));
  const unused = (name: string, taken: { has(name: string): boolean }): string => {
    let free = name;
    for (let n = 1; taken.has(free); n++) free = `${name}_${n}`;
    return free;
  };
  const editor: Editor = {
    graph,
    free: (name) => unused(name, graph.values),
    value(name, { dtype, shape }) {
      const value = { name: editor.free(name), dtype, shape };
      graph.values.set(value.name, value);
      return value;
    },
    weight(name, ref) {
      const value = editor.value(name, ref);
      graph.weights.set(value.name, ref);
      return value;
    },
    node(name, op, inputs, output, attributes = {}) {
      const own = unused(name, nodeNames);
      nodeNames.add(own);
      graph.nodes.push({ name: own, op, domain: '', inputs: [...inputs], outputs: [output], attributes });
    },
  };
  return editor;
}

/** What is added at a site: factors A [in, r] and B [r, out], a whole ΔWᵀ [in, out], or a bias [out] ([out, 1] for columns). */
export type Addend = { readonly a: Value; readonly b: Value } | { readonly whole: Value } | { readonly bias: Value };

/**
 * y + (x A) B beside a module. The sum takes the name of y, so whatever read y reads the sum: other nodes, sub-graphs
 * and the outputs of the model. Call `sortNodes` when all branches are there.
 */
export function addBranch(editor: Editor, site: OnnxSite, addend: Addend): void {
  const { graph } = editor;
  const { y, module } = site;
  const producer = graph.nodes.find(({ outputs }) => outputs.includes(y))!;
  const base = editor.value(`${y.name}.base`, y);
  producer.outputs[producer.outputs.indexOf(y)] = base;
  const branch = 'bias' in addend ? addend.bias : change(editor, site, addend);
  editor.node(`${module}/lora_add`, 'Add', [base, branch], y);
}

/** (x A) B in the layout of y. */
function change(editor: Editor, site: OnnxSite, addend: Exclude<Addend, { bias: Value }>): Value {
  const { x, y, module, kind, columns, columnsOut } = site;
  const unknown = { dtype: y.dtype, shape: undefined };
  const step = (leaf: string, op: string, inputs: readonly Value[], attributes?: Node['attributes']): Value => {
    const out = editor.value(`${module}/${leaf}`, unknown);
    editor.node(`${module}/${leaf}`, op, inputs, out, attributes);
    return out;
  };
  const turn = (value: Value, leaf: string, axes: number) =>
    step(leaf, 'Transpose', [value], { perm: { type: 'ints', value: lastTwoSwapped(axes) } });
  const rows = columns ? turn(x, 'lora_x', x.shape!.length) : x;
  const [first, ...rest] = 'whole' in addend ? [addend.whole] : [addend.a, addend.b];
  const start =
    kind === 'embedding' ? step('lora_A', 'Gather', [first!, rows]) : step('lora_A', 'MatMul', [rows, first!]);
  const made = rest.reduce((h, b) => step('lora_B', 'MatMul', [h, b]), start);
  return columnsOut ? turn(made, 'lora_y', y.shape!.length) : made;
}

const lastTwoSwapped = (axes: number): number[] => [
  ...Array.from({ length: axes - 2 }, (_, i) => i),
  axes - 1,
  axes - 2,
];

/** Puts the nodes of finished branches in order. */
export const settle = ({ graph }: Editor): Graph => {
  sortNodes(graph);
  return graph;
};
