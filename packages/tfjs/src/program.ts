import { createTurns, PeftError, type Program, type Selection, type Tensor } from '@peftjs/core';
import { execute } from './execute.js';
import { fromConstant, fromTensor, type Held, release, share, toTensor } from './held.js';
import type { Step } from './plan.js';
import { onBackend } from './scope.js';

export interface ProgramSpec {
  readonly selection: Selection;
  readonly steps: readonly Step[];
  /** The name of the device in TensorFlow.js. */
  readonly backend: string;
  readonly weights: ReadonlyMap<string, Held>;
  /** Gives the weights back. */
  release(): void;
}

/** A plan with its constants and its carried state, which stay on the device from run to run. */
export function createProgram({ selection, steps, backend, weights, release: close }: ProgramSpec): Program {
  const { graph, carry, outputs } = selection;
  const constants = new Map([...graph.constants].map(([name, tensor]) => [name, fromConstant(name, tensor)]));
  const state = new Map<string, Held>();
  const turns = createTurns(graph.name);

  function stateOf(name: string): Held {
    const held = state.get(name);
    if (held) return held;
    const missing = Object.values(carry).filter((each) => !state.has(each));
    throw new PeftError(
      'CONFIG_INVALID',
      `Carried inputs of "${graph.name}" must be written first: ${missing.join(', ')}.`,
    );
  }

  /** Puts the state of the next run in place, and returns what it replaces. */
  function advance(held: (name: string) => Held): Held[] {
    const next = Object.entries(carry).map(([from, to]) => [to, share(held(from), to)] as const);
    const replaced = next.map(([to]) => stateOf(to));
    for (const [to, value] of next) state.set(to, value);
    return replaced;
  }

  async function run(feeds: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    for (const name of Object.values(carry)) stateOf(name);
    const fed = new Map([...selection.feeds.keys()].map((name) => [name, fromTensor(name, feeds[name]!)]));
    const given = new Map([...weights, ...constants, ...state, ...fed]);
    const done = [...fed.values()];
    try {
      // In one go: TensorFlow.js has one current backend for everybody.
      const values = onBackend(backend, () => {
        const made = execute(steps, given);
        done.push(...made.values());
        const held = (name: string) => made.get(name) ?? given.get(name)!;
        done.push(...advance(held));
        return outputs.map((name) => [name, held(name)] as const);
      });
      const results = values.map(async ([name, held]) => [name, await toTensor(held)] as const);
      return Object.fromEntries(await Promise.all(results));
    } finally {
      for (const held of done) release(held);
    }
  }

  return {
    run: (feeds) => turns.take(() => run(feeds)),
    read: (name) => turns.take(() => toTensor(stateOf(name))),
    write: (name, tensor) =>
      turns.take(() => {
        const held = fromTensor(name, tensor);
        release(state.get(name));
        state.set(name, held);
      }),
    dispose: () =>
      turns.close(() => {
        for (const held of [...constants.values(), ...state.values()]) release(held);
        close();
      }),
  };
}
