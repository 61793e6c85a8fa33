import { parentPort, workerData } from 'node:worker_threads';
import { type Backend, PeftError } from '@peftjs/core';
import { sendError } from './errors.js';
import { createGenerator } from './generator.js';
import { slotInputs } from './graph.js';
import { openBase } from './model.js';
import type { Answer, AnswerMessage, Ask, BackendChoice, CallMessage, CallName, WorkerSetup } from './protocol.js';
import { createReader } from './reader.js';
import { createSlotArrays } from './slot-arrays.js';

type Handlers = { readonly [N in CallName]: (ask: Ask<N>) => Promise<Answer<N>> | Answer<N> };

const port = parentPort!;
const send = (message: AnswerMessage) => port.postMessage(message);

async function makeBackend({ module, factory, options }: BackendChoice): Promise<Backend> {
  const exported: Record<string, unknown> = await import(module);
  const make = exported[factory];
  if (typeof make !== 'function')
    throw new PeftError('BACKEND_UNAVAILABLE', `The package ${module} exports no backend "${factory}".`);
  return make(options) as Backend;
}

async function start(setup: WorkerSetup): Promise<Handlers> {
  const model = await openBase(setup.directory, setup.task);
  const backend = await makeBackend(setup.backend);
  const targets = new Map(model.targets.map((target) => [target.path, target]));
  const arrays = createSlotArrays(targets, { slots: setup.adapters + 1, rank: setup.rank }, slotInputs);
  const generator = setup.task === 'generate' ? await createGenerator(model, backend, setup, arrays) : undefined;
  const reader = generator ? undefined : await createReader(model, backend, setup, arrays);
  const only = <T>(part: T | undefined): T => {
    if (part === undefined)
      throw new PeftError('MODEL_UNSUPPORTED', `This server does not do that with ${model.name}.`);
    return part;
  };
  return {
    async layout(layout) {
      arrays.grow(layout);
      await (generator ?? only(reader)).layout(layout);
      return undefined;
    },
    load({ slot, content }) {
      arrays.write(slot, content);
      return undefined;
    },
    step: (step) => only(generator).step(step),
    read: ({ rows }) => only(reader).read(rows),
    async close() {
      await (generator ?? only(reader)).dispose();
      await backend.dispose();
      return undefined;
    },
  };
}

async function serve(): Promise<void> {
  const handlers = await start(workerData as WorkerSetup);
  // One call after the other: a step never sees a half written slot or a graph that is being replaced.
  let turn: Promise<void> = Promise.resolve();
  port.on('message', ({ id, name, ask }: CallMessage) => {
    turn = turn.then(async () => {
      try {
        send({ id, answer: await (handlers[name] as (ask: unknown) => unknown)(ask) });
      } catch (error) {
        send({ id, error: sendError(error) });
      }
    });
  });
  send({ id: 0, answer: undefined });
}

serve().catch((error: unknown) => send({ id: 0, error: sendError(error) }));
