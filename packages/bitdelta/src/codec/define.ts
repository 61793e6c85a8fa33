import {
  type Codec,
  type CodecFunction,
  type CompressEvent,
  type CompressInput,
  type Delta,
  defineCodec,
  dense,
  denseTerm,
  elementCount,
  type Measure,
  type Term,
  tensorRef,
} from '@peftjs/core';
import type * as z from 'zod';
import { decodeTerms, encodeTerms, type FileKind } from './file.js';

/** A kind of a codec: how it is read, counted, and said in core's own kinds. */
export interface CodecKind extends FileKind {
  /** Numbers of the term that are not zero, where that is known without forming it. */
  survivors?(term: Term, shape: readonly number[]): number;
  /** The same term in core's kinds; dense when there is no shorter way. */
  expand?(term: Term): Promise<Term>;
}

/** What is left to say about a codec whose files hold terms. */
export interface TermCodec<Schema extends z.ZodType> {
  readonly name: string;
  readonly paper: string;
  readonly magic: string;
  readonly config: Schema;
  readonly kinds: readonly CodecKind[];
  compress(input: CompressInput<z.output<Schema>>): AsyncGenerator<CompressEvent, Delta, void>;
}

/** The dense terms of what a codec keeps as it is. */
export const keptDense: CodecKind = {
  kind: dense,
  async inspect() {},
  expand: async (term) => term,
};

/** A codec whose terms are compact themselves: its file is those terms, so reading one gives them back exactly. */
export function defineTermCodec<Schema extends z.ZodType>(own: TermCodec<Schema>): CodecFunction<Schema> {
  const { name, kinds } = own;
  const byName = new Map(kinds.map((entry) => [entry.kind.kind, entry]));
  return defineCodec({
    spec: 'v1',
    name,
    paper: own.paper,
    config: own.config,
    magic: own.magic,
    kinds: kinds.map(({ kind }) => kind),
    replaced: 'keep',
    compress: own.compress,
    encode: (delta) => encodeTerms(delta, name, kinds),
    decode: (packed, subject) => decodeTerms(packed, subject, kinds),
    measure: (delta) => measure(delta, byName),
    expand: (delta) => expand(delta, byName),
  } satisfies Codec<Schema>);
}

async function measure(delta: Delta, kinds: ReadonlyMap<string, CodecKind>): Promise<Measure> {
  let [elements, survivors] = [0, 0];
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    elements += elementCount(shape);
    const counts: number[] = [];
    for (const term of terms) {
      const { kind, survivors: known } = kinds.get(term.kind)!;
      const count = known?.(term, shape);
      counts.push(count ?? nonZero((await kind.dense(term, shape)).data as Float32Array));
    }
    survivors += Math.max(0, ...counts);
  }
  return { elements, survivors };
}

const nonZero = (data: Float32Array): number => data.reduce((count, x) => (x === 0 ? count : count + 1), 0);

async function expand(delta: Delta, kinds: ReadonlyMap<string, CodecKind>): Promise<Delta> {
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    const made = terms.map((term) => {
      const { kind, expand: shorter } = kinds.get(term.kind)!;
      return shorter ? shorter(term) : kind.dense(term, shape).then((full) => denseTerm(tensorRef(full)));
    });
    params.set(path, await Promise.all(made));
  }
  return { shape: delta.shape, params };
}
