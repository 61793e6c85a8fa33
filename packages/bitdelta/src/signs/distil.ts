import {
  createOps,
  type Delta,
  type Example,
  type Graph,
  type Kinds,
  type Ops,
  PeftError,
  prune,
  replaceUses,
  type ShapedValue,
  sortNodes,
  type TaskModel,
  type Tensor,
  type Term,
  type Trainable,
  tensor,
  tensorRef,
  toF32,
} from '@peftjs/core';
import { putUpdate, type Update } from '../calibrate/model.js';
import { signs } from './kind.js';

/** The input that holds the scale of the i-th term of a parameter. */
export const scaleName = (path: string, i: number): string => `${path}:scale${i}`;

/** Feeds of the student beside those of the model. */
export const teacherFeeds = { logits: 'teacher.logits', rows: 'teacher.rows', weight: 'teacher.weight' } as const;

/** A graph with an update in it, and the value that both models are compared by. */
interface Judged {
  readonly graph: Graph;
  readonly logits: ShapedValue;
  /** Its symbolic number of rows. */
  readonly extent: string;
}

/** @throws PeftError MODEL_UNSUPPORTED when the model gives no logits [rows, classes] */
function judged<E extends Example>(model: TaskModel<E>): Judged {
  const { graph, outputs } = model.graph('predict');
  const { logits } = outputs;
  const extent = logits?.shape[0];
  if (logits?.shape.length === 2 && typeof extent === 'string') return { graph, logits, extent };
  throw new PeftError('MODEL_UNSUPPORTED', `Scales are calibrated against logits; "${model.name}" gives none.`);
}

/** The model with the exact update: its logits, the only output, are what the student learns. */
export function teacherGraph<E extends Example>(model: TaskModel<E>, exact: Update, kinds: Kinds): Judged {
  const teacher = judged(model);
  putUpdate(teacher.graph, exact, kinds);
  teacher.graph.outputs.splice(0, Number.POSITIVE_INFINITY, teacher.logits);
  prune(teacher.graph, { inputs: true });
  return teacher;
}

/** The signs of a graph's parameters, and everything else of an update. */
function split({ delta }: Update, graph: Graph) {
  const planes: { readonly path: string; readonly i: number; readonly term: Term }[] = [];
  const rest = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const isTrained = ({ kind }: Term) => kind === signs.kind && graph.weights.has(path);
    for (const [i, term] of terms.entries()) if (isTrained(term)) planes.push({ path, i, term });
    const others = terms.filter((term) => !isTrained(term));
    if (others.length > 0) rest.set(path, others);
  }
  const fixed: Delta = { shape: delta.shape, params: rest };
  return { planes, fixed };
}

/** ±1 for every element, times the factor the term carries. */
const plain = (term: Term, shape: readonly number[]): Promise<Tensor> =>
  signs.dense(
    { ...term, tensors: { ...term.tensors, scale: tensorRef(tensor('f32', [], Float32Array.of(1))) } },
    shape,
  );

/**
 * The model with W + Σ αᵢ Sᵢ in place of every weight that has signs, the α as inputs to be trained. Its loss is the
 * squared difference from the teacher's logits, over the rows that are tokens, times a weight that is fed.
 * @throws PeftError CONFIG_INVALID when no parameter of this model has signs
 */
export async function studentGraph<E extends Example>(model: TaskModel<E>, compressed: Update, kinds: Kinds) {
  const { graph, logits, extent } = judged(model);
  const { planes, fixed } = split(compressed, graph);
  if (planes.length === 0)
    throw new PeftError('CONFIG_INVALID', `The update has no signs of a parameter of "${model.name}" to calibrate.`);
  putUpdate(graph, { delta: fixed, replaced: compressed.replaced }, kinds);
  const ops = createOps(graph);
  const trainables: Trainable[] = [];
  const start = new Map<string, Tensor>();
  const sums = new Map<string, { readonly weight: ShapedValue; sum: ShapedValue }>();
  const reading = [...graph.nodes];
  for (const { path, i, term } of planes) {
    const shape = compressed.delta.shape.get(path)!;
    const scale = toF32(await term.tensors.scale!.read());
    const alpha = ops.input(scaleName(path, i), 'f32', scale.shape);
    // One scale a row stands on the first axis.
    const spread = scale.shape.length === 0 ? alpha : ops.reshape(alpha, [shape[0]!, ...shape.slice(1).map(() => 1)]);
    const S = ops.weight(`${path}:signs${i}`, tensorRef(await plain(term, shape)));
    const weight = graph.values.get(path) as ShapedValue;
    sums.set(path, { weight, sum: ops.add(sums.get(path)?.sum ?? weight, ops.mul(S, spread)) });
    trainables.push({ name: alpha.name, value: alpha, shape: scale.shape, rule: {} });
    start.set(alpha.name, scale);
  }
  const made = graph.nodes.filter((node) => !reading.includes(node));
  for (const { weight, sum } of sums.values()) replaceUses(graph, weight, sum, { except: made });
  sortNodes(graph);
  return { graph, extent, trainables, start, loss: squaredDifference(logits, ops) };
}

/** Σ (student − teacher)² over the rows that are tokens, times the weight: []. */
function squaredDifference(logits: ShapedValue, ops: Ops): ShapedValue {
  const teacher = ops.input(teacherFeeds.logits, 'f32', logits.shape);
  const rows = ops.input(teacherFeeds.rows, 'f32', [logits.shape[0]!, 1]);
  const difference = ops.sub(logits, teacher); // [rows, classes]
  const squares = ops.mul(ops.mul(difference, difference), rows);
  return ops.mul(ops.sum(squares, [0, 1], { keepdims: false }), ops.input(teacherFeeds.weight, 'f32', []));
}
