import { createRiceWriter, maxB, type Rice, readRice } from './rice.js';
import { forEachSurvivor, setBit, type Ternary, zeros } from './words.js';

/** Consecutive tensors whose positions run on from one to the next: few bytes of header for many small tensors. */
export interface Stream extends Omit<Rice, 'numel'> {
  /** How many tensors it holds. */
  readonly tensors: number;
}

export interface CodedStream extends Stream {
  readonly bytes: Uint8Array;
}

/** What a stream costs beside its bits: its entry in the header and its last byte, on average. */
const overheadBits = 7 * 8;

/** What decides the bits of a run of tensors, whichever b is taken. */
interface Run {
  readonly tensors: number;
  readonly nnz: number;
  /** Elements before the first survivor, and after the last one (all of them when there is none). */
  readonly head: number;
  readonly tail: number;
  /** Σ ⌊g / 2^b⌋ over the gaps between survivors, by b. */
  readonly quotients: Float64Array;
}

function runOf(t: Ternary): Run {
  const quotients = new Float64Array(maxB + 1);
  let last = -1;
  let head = t.n;
  let nnz = 0;
  forEachSurvivor(t, (i) => {
    const gap = i - last - 1;
    if (nnz === 0) head = gap;
    else addQuotients(quotients, gap);
    last = i;
    nnz++;
  });
  return { tensors: 1, nnz, head, tail: t.n - 1 - last, quotients };
}

function addQuotients(quotients: Float64Array, gap: number): void {
  for (let b = 0, q = gap; q > 0 && b <= maxB; b++, q = Math.floor(q / 2)) quotients[b] = quotients[b]! + q;
}

function joined(x: Run, y: Run): Run {
  const tensors = x.tensors + y.tensors;
  if (x.nnz === 0) return { ...y, tensors, head: x.tail + y.head, tail: y.nnz === 0 ? x.tail + y.tail : y.tail };
  if (y.nnz === 0) return { ...x, tensors, tail: x.tail + y.tail };
  const quotients = x.quotients.map((q, b) => q + y.quotients[b]!);
  addQuotients(quotients, x.tail + y.head);
  return { tensors, nnz: x.nnz + y.nnz, head: x.head, tail: y.tail, quotients };
}

/** The b that costs least, and the bits of the stream. */
function cheapest({ nnz, head, quotients }: Run): { readonly b: number; readonly bits: number } {
  if (nnz === 0) return { b: 0, bits: 0 };
  let best = { b: 0, bits: Number.POSITIVE_INFINITY };
  for (let b = 0; b <= maxB; b++) {
    const bits = quotients[b]! + Math.floor(head / 2 ** b) + nnz * (b + 2);
    if (bits < best.bits) best = { b, bits };
  }
  return best;
}

/** Tensors as streams: a neighbour joins a stream where that costs less than a stream of its own. */
export function encodeStreams(tensors: readonly Ternary[]): CodedStream[] {
  const runs: Run[] = [];
  for (const t of tensors) {
    const own = runOf(t);
    const before = runs.at(-1);
    const together = before && joined(before, own);
    if (together && cheapest(together).bits <= cheapest(before).bits + cheapest(own).bits + overheadBits)
      runs[runs.length - 1] = together;
    else runs.push(own);
  }
  let at = 0;
  return runs.map((run) => {
    const { b, bits } = cheapest(run);
    const writer = createRiceWriter(b, bits);
    let start = 0;
    let last = -1;
    for (const t of tensors.slice(at, at + run.tensors)) {
      forEachSurvivor(t, (i, positive) => {
        writer.put(start + i - last - 1, positive);
        last = start + i;
      });
      start += t.n;
    }
    at += run.tensors;
    return { tensors: run.tensors, b, nnz: run.nnz, bytes: writer.end() };
  });
}

/**
 * The tensors of one stream.
 * @param sizes elements of each of its tensors
 * @throws PeftError FILE_INVALID, see `readRice`
 */
export function decodeStream({ b, nnz, bytes }: CodedStream, sizes: readonly number[], subject: string): Ternary[] {
  const numel = sizes.reduce((sum, n) => sum + n, 0);
  const tensors = sizes.map(zeros);
  let which = 0;
  let start = 0;
  readRice(
    bytes,
    { numel, nnz, b },
    (i, positive) => {
      while (i >= start + sizes[which]!) start += sizes[which++]!;
      const t = tensors[which]!;
      setBit(positive ? t.plus : t.minus, i - start);
    },
    subject,
  );
  return tensors;
}
