import type { Reducer, Selection } from '../define.js';
import { isSumming, reduceChunk, valuesOf } from '../reduce.js';
import { advance, type Counts, countInto, rangeOf, type SelectState, startSelection } from '../select.js';
import type { Chunks } from './chunks.js';

export type Reducers = Readonly<Record<string, Reducer>>;

/** What one pass asks of reducers, by their names: a sum, or the histogram of a selection's pass. */
export type Asked = Readonly<Record<string, 'sum' | SelectState>>;

/** What one tensor contributes. */
export type Answers = Record<string, number | Counts>;

/** The elements of a tensor that a pass must see. */
function neededBy(asked: Asked, origin: number): readonly [from: number, to: number] {
  const ranges = Object.values(asked).map((state) => (state === 'sum' ? everything : rangeOf(state)));
  return [Math.min(...ranges.map(([from]) => from)) - origin, Math.max(...ranges.map(([, to]) => to)) - origin];
}
const everything = [0, Number.POSITIVE_INFINITY] as const;

/**
 * One pass over a tensor.
 * @param origin index of the tensor's first element in the scope
 */
export async function measure(chunks: Chunks, reducers: Reducers, asked: Asked, origin: number): Promise<Answers> {
  const answers: Answers = {};
  for (const [name, state] of Object.entries(asked))
    answers[name] = state === 'sum' ? 0 : new Uint32Array(state.pass === 'done' ? 0 : state.bins);
  await chunks.each(
    (chunk) => {
      const values = valuesOf(chunk);
      for (const [name, state] of Object.entries(asked)) {
        const reducer = reducers[name]!;
        if (state === 'sum' && isSumming(reducer))
          answers[name] = (answers[name] as number) + reduceChunk(reducer, values);
        else if (state !== 'sum' && !isSumming(reducer))
          countInto(state, values(reducer.of), origin + chunk.offset, answers[name] as Uint32Array);
      }
    },
    { range: neededBy(asked, origin), more: true },
  );
  return answers;
}

/** Adds up what several tensors contribute, in their order. */
export function addAnswers(parts: readonly Answers[]): Answers {
  const total: Answers = {};
  for (const part of parts)
    for (const [name, answer] of Object.entries(part)) {
      const sum = total[name];
      if (typeof answer === 'number') total[name] = ((sum as number) ?? 0) + answer;
      else if (sum === undefined) total[name] = Float64Array.from(answer);
      else for (let i = 0; i < answer.length; i++) (sum as Float64Array)[i] = (sum as Float64Array)[i]! + answer[i]!;
    }
  return total;
}

/**
 * Asks reducers of one scope until all have their result: sums in the first pass, selections in two to four.
 * @param count numbers in the scope
 * @param pass one pass over the scope
 */
export async function resolveReducers(
  reducers: Reducers,
  count: number,
  pass: (asked: Asked) => Promise<Answers>,
): Promise<{ numbers: Record<string, number>; selections: Record<string, Selection> }> {
  const numbers: Record<string, number> = {};
  const selections: Record<string, Selection> = {};
  let open: Record<string, 'sum' | SelectState> = {};
  for (const [name, reducer] of Object.entries(reducers))
    open[name] = isSumming(reducer) ? 'sum' : startSelection(reducer.k(count), count);
  for (;;) {
    const next: typeof open = {};
    for (const [name, state] of Object.entries(open)) {
      if (state !== 'sum' && state.pass === 'done') selections[name] = state.selection;
      else next[name] = state;
    }
    open = next;
    if (Object.keys(open).length === 0) return { numbers, selections };
    const answers = await pass(open);
    for (const [name, state] of Object.entries(open)) {
      const answer = answers[name]!;
      if (state !== 'sum') open[name] = advance(state, answer as Counts, count);
      else {
        numbers[name] = answer as number;
        delete open[name];
      }
    }
  }
}
