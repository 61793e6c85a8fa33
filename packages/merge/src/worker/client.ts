import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { PeftError } from '@peftjs/core';
import type { Executor } from '../engine/execute.js';
import type { Answers } from '../engine/measure.js';
import type { Finished, Outcome } from '../engine/task.js';
import { type Reply, type Request, type Result, receiveFault, sendTask } from './protocol.js';

/** From source through a loader of TypeScript, from the package as it was built. */
function startWorker(): Worker {
  if (import.meta.url.endsWith('.ts')) return new Worker(new URL('./boot.mjs', import.meta.url));
  return new Worker(createRequire(import.meta.url).resolve('#worker'));
}

interface Call {
  readonly request: () => Promise<Request>;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Computes in worker threads, each with one call at a time; the calls wait in their order. */
export function threadExecutor(threads: number): Executor {
  const waiting: Call[] = [];
  const running = new Map<Worker, Call>();
  const idle: Worker[] = [];
  let over: PeftError | undefined;

  function fail(error: PeftError): void {
    over ??= error;
    for (const call of [...running.values(), ...waiting]) call.reject(over);
    running.clear();
    waiting.length = 0;
  }

  async function next(worker: Worker): Promise<void> {
    const call = waiting.shift();
    if (!call) {
      idle.push(worker);
      return;
    }
    running.set(worker, call);
    try {
      worker.postMessage(await call.request());
    } catch (error) {
      running.delete(worker);
      call.reject(error);
      void next(worker);
    }
  }

  const workers = Array.from({ length: threads }, () => {
    const worker = startWorker();
    worker.on('message', (reply: Reply) => {
      const call = running.get(worker);
      running.delete(worker);
      if ('fault' in reply) call?.reject(receiveFault(reply.fault));
      else call?.resolve(reply.result);
      void next(worker);
    });
    worker.on('error', (cause) =>
      fail(new PeftError('INTERNAL', `A merging thread failed: ${cause.message}`, { cause })),
    );
    worker.on('exit', (code) => fail(new PeftError('CANCELLED', `A merging thread ended (${code}).`)));
    idle.push(worker);
    return worker;
  });

  const ask = (request: () => Promise<Request>): Promise<Result> =>
    new Promise((resolve, reject) => {
      if (over) return reject(over);
      waiting.push({ request, resolve, reject });
      const worker = idle.shift();
      if (worker) void next(worker);
    });

  return {
    perform: ({ name: merge }, task, progress) =>
      ask(async () => ({ call: 'perform', merge, task: await sendTask(task), progress })) as Promise<Outcome>,
    measure: ({ name: merge }, task, progress, asked, origin) =>
      ask(async () => ({
        call: 'measure',
        merge,
        task: await sendTask(task),
        progress,
        asked,
        origin,
      })) as Promise<Answers>,
    whole: ({ name: merge }, tasks) =>
      ask(async () => ({ call: 'whole', merge, tasks: await Promise.all(tasks.map(sendTask)) })) as Promise<
        readonly Finished[]
      >,
    async dispose() {
      fail(new PeftError('CANCELLED', 'The merge was ended.'));
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
