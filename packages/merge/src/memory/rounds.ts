import type { Chunk, Reducer, Selection, TensorContext } from '../define.js';
import { isSumming, reduceChunk, valuesOf } from '../reduce.js';
import { advance, countInto, startSelection, within } from '../select.js';

/** The inputs of one run over one tensor: what is the same for its chunks, and the chunks. */
export interface Work<Settings> {
  readonly context: TensorContext<Settings>;
  readonly chunks: readonly Chunk[];
  /** Index of the tensor's first element among all merged ones. */
  readonly start: number;
}

/** Asks one `largest` of a group of tensors: one, or all in the scope. */
function select<S>(group: readonly Work<S>[], reducers: readonly Extract<Reducer, { kind: 'largest' }>[]): Selection {
  const origin = group[0]!.start;
  const count = group.reduce((sum, { context }) => sum + context.count, 0);
  let state = startSelection(reducers[0]!.k(count), count);
  while (state.pass !== 'done') {
    const histogram = new Uint32Array(state.bins);
    group.forEach(({ chunks, start }, i) => {
      for (const chunk of chunks) countInto(state, reducers[i]!.of(chunk), start - origin + chunk.offset, histogram);
    });
    state = advance(state, histogram, count);
  }
  return state.selection;
}

/** Runs one round of reducers over all tensors and gives each tensor its results. */
export function runRound<S>(
  works: readonly Work<S>[],
  round: (context: TensorContext<S>) => Readonly<Record<string, Reducer>>,
): Work<S>[] {
  const asked = works.map(({ context }) => round(context));
  const numbers = works.map(({ context }) => ({ ...context.stats.numbers }));
  const selections = works.map(({ context }) => ({ ...context.stats.selections }));
  const names = new Set(asked.flatMap((reducers) => Object.keys(reducers)));
  for (const name of names) {
    const having = works.map((_, i) => i).filter((i) => asked[i]![name] !== undefined);
    const whole = asked[having[0]!]![name]!.scope === 'model';
    for (const group of whole ? [having] : having.map((i) => [i])) {
      const reducers = group.map((i) => asked[i]![name]!);
      const members = group.map((i) => works[i]!);
      const first = reducers[0]!;
      if (isSumming(first)) {
        let sum = 0;
        members.forEach(({ chunks }, i) => {
          for (const chunk of chunks) sum += reduceChunk(reducers[i] as typeof first, valuesOf(chunk));
        });
        for (const i of group) numbers[i]![name] = sum;
      } else {
        const selection = select(members, reducers as (typeof first)[]);
        for (const i of group) selections[i]![name] = within(selection, works[i]!.start - members[0]!.start);
      }
    }
  }
  return works.map((work, i) => ({
    ...work,
    context: { ...work.context, stats: { numbers: numbers[i]!, selections: selections[i]! } },
  }));
}
