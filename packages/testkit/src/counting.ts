import type { Backend, Program } from '@peftjs/core';

/** A backend that counts what it hands out. */
export interface CountingBackend extends Backend {
  /** Programs compiled so far. */
  compiled(): number;
  /** Programs not disposed yet, by the name of their graph. */
  open(): readonly string[];
}

/** Wraps a backend to see that everything compiled is disposed. */
export function countingBackend(inner: Backend): CountingBackend {
  const open = new Map<Program, string>();
  let compiled = 0;
  return {
    spec: inner.spec,
    name: inner.name,
    device: inner.device,
    capabilities: () => inner.capabilities(),
    async compile(graph, options) {
      const program = await inner.compile(graph, options);
      const counted: Program = {
        run: (feeds, at) => program.run(feeds, at),
        read: (name) => program.read(name),
        write: (name, tensor) => program.write(name, tensor),
        async dispose() {
          open.delete(counted);
          await program.dispose();
        },
      };
      compiled++;
      open.set(counted, graph.name);
      return counted;
    },
    dispose: () => inner.dispose(),
    compiled: () => compiled,
    open: () => [...open.values()],
  };
}
