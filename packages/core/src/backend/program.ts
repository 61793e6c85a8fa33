import { PeftError } from '../errors.js';
import type { Program } from './backend.js';
import { checkFeeds, checkState } from './feeds.js';
import { createEstimate, requireMemory } from './memory.js';
import type { Selection } from './select.js';

/** The memory that runs have, in bytes; absent where nobody knows. */
export interface Memory {
  /** What can be taken now. */
  free?(): number;
  /** What all of it can come to. */
  readonly limit?: number;
}

/** A runtime's program behind the checks of the contract: feeds and state that fit, memory, an aborted signal. */
export function checkedProgram(selection: Selection, program: Program, { free, limit }: Memory = {}): Program {
  const estimate = createEstimate(selection);
  let served = 0; // what runs so far have taken, which the runtime keeps for the next
  return {
    async run(feeds, { signal } = {}) {
      if (signal?.aborted) throw new PeftError('CANCELLED', 'The run was cancelled.', { cause: signal.reason });
      checkFeeds(selection, feeds);
      if (free || limit !== undefined) {
        const what = `A run of "${selection.graph.name}"`;
        const needed = estimate(feeds);
        if (limit !== undefined) requireMemory(what, needed, limit);
        if (free && needed > served) requireMemory(what, needed - served, free());
        served = Math.max(served, needed);
      }
      return program.run(feeds);
    },
    async read(name) {
      checkState(selection, name);
      return program.read(name);
    },
    async write(name, tensor) {
      checkState(selection, name, tensor);
      return program.write(name, tensor);
    },
    dispose: () => program.dispose(),
  };
}
