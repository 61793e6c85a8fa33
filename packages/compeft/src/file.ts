import { type Delta, elementCount, type Packed, PeftError, Problems, type Term } from '@peftjs/core';
import * as z from 'zod';
import { readFactors, readTernary, ternary, ternaryLowRank, ternaryLowRankTerm, ternaryTerm } from './kinds.js';
import type { Factor } from './parts.js';
import { type CodedStream, decodeStream, encodeStreams } from './streams.js';
import { maxElements, type Ternary } from './words.js';

const float = z.number().refine((x) => Object.is(Math.fround(x), x), { error: 'no float32 number' });
const natural = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const Plain = z.strictObject({ s: float });
const Factored = z.strictObject({
  scale: z.number(),
  rank: natural,
  a: float,
  b: float,
  transposed: z.boolean().default(false),
  embedding: z.boolean().default(false),
});
type Description = z.output<typeof Plain> | z.output<typeof Factored>;

/** Terms of each parameter in the order of their paths; streams of their tensors: all a, then all b, then whole ΔW. */
const Header = z.strictObject({
  terms: z.array(z.array(z.union([Plain, Factored])).min(1)),
  streams: z.array(z.tuple([natural.min(1), natural, natural])),
});

const factorOrder: readonly Factor[] = ['a', 'b', 'dense'];

/**
 * Sparse files unpack to masks much larger than they are. What is read (and therefore written) has at most this many
 * elements for each byte, and some more in any case.
 */
const elementsPerByte = 2 ** 13;
const freeElements = 2 ** 24;

const sortedPaths = (map: ReadonlyMap<string, unknown>): string[] => [...map.keys()].sort();

const tooSparse = (elements: number, sections: readonly Uint8Array[]): boolean =>
  elements > freeElements + elementsPerByte * sections.reduce((sum, { length }) => sum + length, 0);

/** A delta of ternary terms as streams and a header. @throws PeftError DELTA_CONFLICT for other terms */
export async function encodeDelta(delta: Delta): Promise<Packed> {
  const problems = new Problems();
  const tensors: Record<Factor, Ternary[]> = { a: [], b: [], dense: [] };
  const terms: object[][] = [];
  const shape = new Map<string, readonly number[]>();
  for (const path of sortedPaths(delta.params)) {
    const own = delta.shape.get(path)!;
    shape.set(path, own);
    const described: object[] = [];
    for (const term of delta.params.get(path)!) {
      if (term.kind === ternary.kind) {
        const { t, s } = await readTernary(term, own);
        tensors.dense.push(t);
        described.push({ s });
      } else if (term.kind === ternaryLowRank.kind) {
        const { a, b, scale, rank, transposed, embedding } = await readFactors(term, own);
        tensors.a.push(a.t);
        tensors.b.push(b.t);
        const lies = { ...(transposed && { transposed }), ...(embedding && { embedding }) };
        described.push({ scale, rank, a: a.s, b: b.s, ...lies });
      } else problems.add(`"${path}" has an update of kind ${term.kind}; compress it first.`);
    }
    terms.push(described);
  }
  problems.throwIfAny('DELTA_CONFLICT', 'A ComPEFT file holds ternary updates');
  const ordered = factorOrder.flatMap((factor) => tensors[factor]);
  const streams = encodeStreams(ordered);
  const sections = streams.map(({ bytes }) => bytes);
  const elements = ordered.reduce((sum, { n }) => sum + n, 0);
  if (tooSparse(elements, sections))
    throw new PeftError(
      'DELTA_CONFLICT',
      `So little of ${elements} numbers survives that a file of them could not be told from a hostile one. Take a higher density.`,
    );
  return { shape, header: { terms, streams: streams.map(({ tensors, b, nnz }) => [tensors, b, nnz]) }, sections };
}

/** The delta of a file. Everything is checked before anything is allocated. @throws PeftError FILE_INVALID */
export async function decodeDelta({ shape, header, sections }: Packed, subject: string): Promise<Delta> {
  const problems = new Problems();
  const parsed = Header.safeParse(header);
  for (const { path, message } of parsed.error?.issues.slice(0, 20) ?? [])
    problems.add(`${path.join('.')}: ${message}`);
  problems.throwIfAny('FILE_INVALID', `The header of ${subject}`);
  const { terms, streams } = parsed.data!;
  const paths = sortedPaths(shape);
  const slots = paths.flatMap((path, i) => (terms[i] ?? []).map((d) => ({ path, shape: shape.get(path)!, d })));
  const sizes = factorOrder.flatMap((factor) => slots.flatMap((slot) => sizeOf(factor, slot)));
  const elements = sizes.reduce((sum, n) => sum + n, 0);
  if (terms.length !== paths.length)
    problems.add(`it describes ${terms.length} parameters, and shapes ${paths.length}.`);
  for (const { path, shape: own, d } of slots)
    if ('rank' in d && own.length !== 2) problems.add(`"${path}" has factors, and the shape [${own}].`);
  if (!sizes.every((n) => Number.isSafeInteger(n) && n <= maxElements)) problems.add('a tensor is too large.');
  else if (tooSparse(elements, sections))
    problems.add(`its ${elements} numbers are too many for its bytes: it is hostile, or damaged.`);
  if (streams.length !== sections.length) problems.add(`${streams.length} streams have ${sections.length} sections.`);
  if (streams.reduce((sum, [tensors]) => sum + tensors, 0) !== sizes.length)
    problems.add(`its streams do not hold its ${sizes.length} tensors.`);
  problems.throwIfAny('FILE_INVALID', subject);
  let at = 0;
  const decoded: Ternary[] = [];
  for (const [i, [tensors, b, nnz]] of streams.entries()) {
    const stream: CodedStream = { tensors, b, nnz, bytes: sections[i]! };
    for (const t of decodeStream(stream, sizes.slice(at, at + tensors), `Stream ${i} of ${subject}`)) decoded.push(t);
    at += tensors;
  }
  return { shape, params: assemble(slots, decoded) };
}

interface Slot {
  readonly path: string;
  readonly shape: readonly number[];
  readonly d: Description;
}

/** Elements of the tensors that a term has of this factor. */
function sizeOf(factor: Factor, { shape, d }: Slot): number[] {
  if (!('rank' in d)) return factor === 'dense' ? [elementCount(shape)] : [];
  if (factor === 'dense') return [];
  const [rows = 0, columns = 0] = shape;
  const [out, inside] = d.transposed ? [columns, rows] : [rows, columns];
  return [d.rank * (factor === 'a' ? inside : out)];
}

function assemble(slots: readonly Slot[], decoded: readonly Ternary[]): Map<string, readonly Term[]> {
  const factored = slots.filter(({ d }) => 'rank' in d).length;
  const params = new Map<string, Term[]>();
  let low = 0;
  let plain = 2 * factored;
  for (const { path, d } of slots) {
    const term =
      'rank' in d
        ? ternaryLowRankTerm({ ...d, a: { t: decoded[low]!, s: d.a }, b: { t: decoded[factored + low]!, s: d.b } })
        : ternaryTerm({ t: decoded[plain]!, s: d.s });
    if ('rank' in d) low++;
    else plain++;
    const own = params.get(path);
    if (own) own.push(term);
    else params.set(path, [term]);
  }
  return params;
}
