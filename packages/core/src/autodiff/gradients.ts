import { PeftError } from '../errors.js';
import type { Graph, Macro, Node, ShapedValue, Value } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import type { Rules } from './rule.js';
import { rules as standardRules } from './rules.js';

/** One step of the backward walk: a node with its rule, or a macro. */
type Step = { readonly node: Node } | { readonly node: Node; readonly macro: Macro };

const floating = new Set(['f64', 'f32', 'f16', 'bf16']);

/**
 * Reverse-mode differentiation: appends the nodes that compute ∂loss/∂w for each w in `wrt`, and returns those values
 * in order, each with the shape of its w. Only nodes between `wrt` and `loss` are differentiated.
 *
 * @param loss a scalar (shape [])
 * @throws PeftError GRADIENT_UNDEFINED naming the node without a rule, or the value that the loss does not depend on
 */
export function gradients(
  graph: Graph,
  loss: ShapedValue,
  wrt: readonly ShapedValue[],
  rules: Rules = standardRules,
): ShapedValue[] {
  if (loss.shape.length !== 0)
    throw new PeftError('GRADIENT_UNDEFINED', `The loss "${loss.name}" has shape [${loss.shape}]; a scalar is needed.`);
  const ops = createOps(graph);
  const forward = [...graph.nodes];
  const dependent = dependents(graph, forward, wrt);
  const gathered = new Map<Value, ShapedValue[]>([[loss, [ops.scalar(1, loss.dtype)]]]);

  for (const step of backwardSteps(graph, forward, loss, dependent)) {
    const dys = step.node.outputs.map((output) => output && total(ops, gathered, output));
    if (dys.every((dy) => dy === undefined)) continue;
    const inputs = 'macro' in step ? step.macro.inputs : step.node.inputs;
    const needs = inputs.map((input) => input !== undefined && dependent.has(input));
    if (!needs.includes(true)) continue;
    const contributions = ops.scope(`grad/${step.node.name}`, () =>
      'macro' in step ? step.macro.vjp(dys[0]!, needs) : applyRule(ops, rules, step.node, dys, needs),
    );
    inputs.forEach((input, i) => {
      const dx = contributions[i];
      if (input && needs[i] && dx) gathered.set(input, [...(gathered.get(input) ?? []), dx]);
    });
  }

  return wrt.map((w) => {
    const dw = total(ops, gathered, w);
    if (!dw) throw new PeftError('GRADIENT_UNDEFINED', `The loss "${loss.name}" does not depend on "${w.name}".`);
    return dw;
  });
}

/** Values on some path from `wrt` forward. A macro leads from its inputs to its output, whatever lies between. */
function dependents(graph: Graph, nodes: readonly Node[], wrt: readonly Value[]): Set<Value> {
  const dependent = new Set<Value>(wrt);
  for (const node of nodes) {
    const { inputs } = (node.outputs[0] && graph.macros.get(node.outputs[0])) ?? node;
    if (!inputs.some((input) => input && dependent.has(input))) continue;
    for (const output of node.outputs) if (output && floating.has(output.dtype)) dependent.add(output);
  }
  return dependent;
}

/** The dependent nodes that the loss needs, last first; the inner nodes of macros are left out. */
function backwardSteps(graph: Graph, nodes: readonly Node[], loss: Value, dependent: ReadonlySet<Value>): Step[] {
  const needed = new Set<Value>([loss]);
  const steps: Step[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((output) => output && needed.has(output) && dependent.has(output))) continue;
    const macro = node.outputs[0] && graph.macros.get(node.outputs[0]);
    steps.push(macro ? { node, macro } : { node });
    for (const input of macro ? macro.inputs : node.inputs) if (input && dependent.has(input)) needed.add(input);
  }
  return steps;
}

/** The sum of what has reached a value so far. */
function total(ops: Ops, gathered: Map<Value, ShapedValue[]>, value: Value): ShapedValue | undefined {
  const parts = gathered.get(value);
  if (!parts) return undefined;
  const sum = parts.reduce((a, b) => ops.add(a, b));
  gathered.set(value, [sum]);
  return sum;
}

function applyRule(
  ops: Ops,
  rules: Rules,
  node: Node,
  dys: readonly (ShapedValue | undefined)[],
  needs: readonly boolean[],
): readonly (ShapedValue | undefined)[] {
  const rule = node.domain === '' ? rules[node.op] : undefined;
  if (!rule)
    throw new PeftError(
      'GRADIENT_UNDEFINED',
      `Node "${node.name}" (${node.domain ? `${node.domain}.` : ''}${node.op}) lies between the trained tensors and the loss, and has no derivative.`,
      { details: { node: node.name, operation: node.op, known: Object.keys(rules) } },
    );
  for (const value of [...node.inputs, ...node.outputs])
    if (value && value.shape === undefined)
      throw new PeftError('GRADIENT_UNDEFINED', `"${value.name}" at node "${node.name}" has no known shape.`);
  return rule({
    ops,
    node,
    x: node.inputs as ShapedValue[],
    y: node.outputs as ShapedValue[],
    dy: dys[0] as ShapedValue,
    dys,
    needs,
  });
}
