import { referenceBackend } from '../../../testkit/src/index.js';
import type { Backend } from '../../src/index.js';

/** The reference backend with its carried state rounded to float32 after every run, as every runtime's is. */
export function roundedBackend(): Backend {
  const backend = referenceBackend();
  return {
    ...backend,
    async compile(graph, options) {
      const program = await backend.compile(graph, options);
      const carried = Object.values(options?.carry ?? {});
      return {
        ...program,
        async run(feeds, runOptions) {
          const outputs = await program.run(feeds, runOptions);
          for (const name of carried) await program.write(name, await program.read(name));
          return outputs;
        },
      };
    },
  };
}
