import * as z from 'zod';
import type { Chunk, Reducer, Source } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { taskVector, taskVectorOf } from '../vectors/delta.js';

/** 1 where an element passes the test of how many models raise it and how many lower it. */
const where =
  (test: (up: number, down: number) => boolean): Source =>
  (chunk: Chunk) => {
    const taus = chunk.models.map((_, i) => taskVector(chunk, i));
    const marks = new Float32Array(chunk.models[0]!.length);
    for (let j = 0; j < marks.length; j++) {
      let up = 0;
      let down = 0;
      for (const tau of taus) {
        if (tau[j]! > 0) up++;
        else if (tau[j]! < 0) down++;
      }
      marks[j] = test(up, down) ? 1 : 0;
    }
    return marks;
  };

/** Names of the reducers. */
export const dotName = (i: number, j: number): string => `dot.${i}.${j}`;
export const changedName = (i: number): string => `changed.${i}`;
export const sharedName = 'shared';
export const conflictsName = 'conflicts';

/** How task vectors lie to each other, tensor by tensor: inner products, elements changed, shared, and in conflict. */
export const interference = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'interference',
  config: z.strictObject({}),
  base: 'required',
  stats: [
    ({ weights }) => {
      const sources = weights.map((_, i) => taskVectorOf(i));
      const reducers: Record<string, Reducer> = {
        [sharedName]: { kind: 'count', of: where((up, down) => up + down > 1) },
        [conflictsName]: { kind: 'count', of: where((up, down) => up > 0 && down > 0) },
      };
      for (const [i, of] of sources.entries()) {
        reducers[changedName(i)] = { kind: 'count', of };
        for (let j = i; j < sources.length; j++) reducers[dotName(i, j)] = { kind: 'dot', of: [of, sources[j]!] };
      }
      return reducers;
    },
  ],
  combine: ({ base }) => base!,
});
