import { PeftError } from '../errors.js';
import type { Program } from './backend.js';
import { checkFeeds, checkState } from './feeds.js';
import type { Selection } from './select.js';

/** A runtime's program behind the checks of the contract: feeds and state that fit the graph, an aborted signal. */
export const checkedProgram = (selection: Selection, program: Program): Program => ({
  async run(feeds, { signal } = {}) {
    if (signal?.aborted) throw new PeftError('CANCELLED', 'The run was cancelled.', { cause: signal.reason });
    checkFeeds(selection, feeds);
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
});
