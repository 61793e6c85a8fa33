import { platform } from '#platform';
import { PeftError } from '../errors.js';
import { sizeOf, termsOf } from '../graph/dim.js';
import type { Value } from '../graph/graph.js';
import { byteLength } from '../tensor/dtype.js';
import type { DType } from '../tensor/tensor.js';
import type { Feeds } from './backend.js';
import type { Selection } from './select.js';

/** Operations that give their input's memory another shape. */
const views: readonly string[] = ['Flatten', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze'];

/** Bytes that come to life, or go, at one node: the number of a size, and its sign. */
interface Change {
  readonly size: number;
  readonly sign: 1 | -1;
}

/**
 * Estimates the bytes of feeds and values that a run of these feeds holds at once: nodes in their order, each value
 * until its last reader, whose memory may serve what that reader makes. Weights are not counted, nor is what a kernel
 * takes for itself. Shapes that depend on computed numbers count nothing, so the estimate is rather too low.
 */
export function createEstimate(selection: Selection): (feeds: Feeds) => number {
  const sizes = createSizes();
  const changes = changesOf(selection, sizes.numberOf);
  return (feeds) => {
    const bytes = sizes.bytes(extentsOf(selection, feeds));
    let held = 0;
    for (const { dtype, shape } of Object.values(feeds)) held += byteLength(dtype, shape);
    let most = held;
    for (const { size, sign } of changes) {
      held += sign * bytes[size]!;
      most = Math.max(most, held);
    }
    return most;
  };
}

/** The sizes that values of a graph have: few, while values are many. */
function createSizes() {
  const known: { readonly dtype: DType; readonly terms: ReturnType<typeof termsOf> }[] = [];
  const numbers = new Map<string, number>();
  return {
    numberOf({ dtype, shape }: Value): number {
      const key = `${dtype} ${shape}`;
      const number = numbers.get(key) ?? known.push({ dtype, terms: termsOf(shape ? sizeOf(shape) : 0) }) - 1;
      numbers.set(key, number);
      return number;
    },
    bytes: (extents: ReadonlyMap<string, number>): number[] =>
      known.map(({ dtype, terms }) => {
        const product = (symbols: readonly string[]) => symbols.reduce((n, s) => n * (extents.get(s) ?? 0), 1);
        return byteLength(dtype, [
          terms.reduce((sum, { coefficient, symbols }) => sum + coefficient * product(symbols), 0),
        ]);
      }),
  };
}

function changesOf({ graph, outputs, carry }: Selection, numberOf: (value: Value) => number): Change[] {
  const roots = new Map<Value, Value>();
  const rootOf = (value: Value): Value => roots.get(value) ?? value;
  const made = new Set<Value>();
  const last = new Map<Value, number>();
  for (const [i, { op, inputs, outputs: results }] of graph.nodes.entries()) {
    for (const value of inputs) if (value) last.set(rootOf(value), i);
    const [from, to] = [inputs[0], results[0]];
    if (views.includes(op) && from && to) roots.set(to, rootOf(from));
    else for (const value of results) if (value) made.add(value);
  }
  const kept = new Set([...outputs, ...Object.keys(carry)].map((name) => rootOf(graph.values.get(name)!)));
  const changes: Change[] = [];
  for (const [i, { inputs, outputs: results }] of graph.nodes.entries()) {
    const read = new Set(inputs.flatMap((value) => (value ? [rootOf(value)] : [])));
    for (const value of read)
      if (made.has(value) && last.get(value) === i && !kept.has(value))
        changes.push({ size: numberOf(value), sign: -1 });
    for (const value of results) if (value && made.has(value)) changes.push({ size: numberOf(value), sign: 1 });
  }
  return changes;
}

/** What the symbols of the graph's inputs stand for in these feeds. */
function extentsOf({ feeds: declared }: Selection, feeds: Feeds): Map<string, number> {
  const extents = new Map<string, number>();
  for (const [name, { shape }] of declared)
    shape?.forEach((extent, axis) => {
      if (typeof extent === 'string') extents.set(extent, feeds[name]!.shape[axis]!);
    });
  return extents;
}

/** Bytes that this process may come to at most: the machine's, or its container's. Infinity where nobody knows. */
export const processMemory = (): number => platform.memory();

/** What to do where memory does not suffice. */
export const lessMemory = 'use a smaller batch (gradAccumulation makes up for it), shorter inputs or a smaller base';

const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toPrecision(3)} GB`;

/** @throws PeftError BACKEND_UNAVAILABLE when more is needed than there is at all, before anything is taken */
export function requireMemory(what: string, needed: number, limit: number): void {
  if (needed <= limit) return;
  throw new PeftError(
    'BACKEND_UNAVAILABLE',
    `${what} needs about ${gigabytes(needed)} of memory, and there are ${gigabytes(limit)}: ${lessMemory}.`,
    { details: { needed, limit } },
  );
}
