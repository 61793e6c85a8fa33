import { Worker } from 'node:worker_threads';
import { PeftError } from '@peftjs/core';
import { receiveError } from './errors.js';
import type { Answer, AnswerMessage, Ask, CallMessage, CallName, WorkerSetup } from './protocol.js';

export interface WorkerClient {
  call<N extends CallName>(name: N, ask: Ask<N>, transfer?: readonly ArrayBuffer[]): Promise<Answer<N>>;
  /** Resolves with what ended the worker when nobody asked it to end. */
  readonly failed: Promise<Error>;
  dispose(): Promise<void>;
}

/** From source the worker is TypeScript, which `boot.mjs` makes runnable; built, it is the package's second entry. */
const entry = () => new URL(import.meta.url.endsWith('.ts') ? './boot.mjs' : './worker/main.js', import.meta.url);

/** Starts the thread that holds the model. @throws what went wrong while it loaded */
export async function startWorker(setup: WorkerSetup): Promise<WorkerClient> {
  const worker = new Worker(entry(), { workerData: setup });
  const open = new Map<number, { resolve(answer: unknown): void; reject(error: unknown): void }>();
  let last = 0;
  let ended: Error | undefined;
  let disposing = false;

  let report: (error: Error) => void;
  const failed = new Promise<Error>((resolve) => {
    report = resolve;
  });
  function end(error: Error): void {
    ended ??= error;
    for (const { reject } of open.values()) reject(error);
    open.clear();
    if (!disposing) report(error);
  }

  worker.on('message', (message: AnswerMessage) => {
    const call = open.get(message.id);
    open.delete(message.id);
    if (open.size === 0) worker.unref(); // an idle engine does not keep a program from ending
    if ('error' in message) call?.reject(receiveError(message.error));
    else call?.resolve(message.answer);
  });
  worker.on('error', (cause: Error) =>
    end(new PeftError('INTERNAL', `The thread that runs the model failed: ${cause.message}`, { cause })),
  );
  worker.on('exit', (code) =>
    end(new PeftError('SERVER_CLOSED', `The thread that runs the model has ended (${code}).`)),
  );

  const wait = (id: number) => new Promise<unknown>((resolve, reject) => open.set(id, { resolve, reject }));
  const client: WorkerClient = {
    async call(name, ask, transfer = []) {
      if (ended) throw ended;
      const id = ++last;
      const answer = wait(id);
      worker.ref();
      worker.postMessage({ id, name, ask } satisfies CallMessage, transfer);
      return answer as Promise<Answer<typeof name>>;
    },
    failed,
    async dispose() {
      disposing = true;
      await client.call('close', undefined).catch(() => {});
      await worker.terminate();
    },
  };
  try {
    await wait(0);
  } catch (error) {
    disposing = true;
    await worker.terminate();
    throw error;
  }
  return client;
}
