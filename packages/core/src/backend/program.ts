import { PeftError } from '../errors.js';
import type { Program } from './backend.js';
import { checkFeeds, checkState } from './feeds.js';
import { createEstimate, requireMemory } from './memory.js';
import type { Selection } from './select.js';

/**
 * A runtime's program behind the checks of the contract: feeds and state that fit, memory, an aborted signal.
 * @param limit bytes that a run may take at most
 */
export function checkedProgram(selection: Selection, program: Program, limit = Number.POSITIVE_INFINITY): Program {
  const estimate = limit < Number.POSITIVE_INFINITY ? createEstimate(selection) : undefined;
  return {
    async run(feeds, { signal } = {}) {
      if (signal?.aborted) throw new PeftError('CANCELLED', 'The run was cancelled.', { cause: signal.reason });
      checkFeeds(selection, feeds);
      if (estimate) requireMemory(`A run of "${selection.graph.name}"`, estimate(feeds), limit);
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
