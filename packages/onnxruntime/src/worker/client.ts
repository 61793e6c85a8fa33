import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { PeftError, type Tensor } from '@peftjs/core';
import type { Device } from '../options.js';
import type { Executor, Session } from '../session.js';
import { copyOf } from '../tensors.js';
import { memoryOf, type Reply, type Request } from './protocol.js';

interface Thread {
  ask(request: Request, tensors?: readonly Tensor[]): Promise<unknown>;
  /** Returns when the thread is gone. What runs is waited for: ending a thread inside native code ends the process. */
  end(): Promise<void>;
  isDead(): boolean;
}

/**
 * Sessions in a worker thread, started at the first call. It keeps the process alive only while it is asked something.
 * When it dies, everything that waits fails, its sessions are lost, and the next session gets a new worker.
 */
export function workerExecutor(start: () => Worker = startWorker): Executor {
  let thread: Thread | undefined;
  const current = (): Thread => {
    if (thread && !thread.isDead()) return thread;
    thread = startThread(start());
    return thread;
  };
  return {
    devices: async (runtime, device) => (await current().ask({ method: 'devices', runtime, device })) as Device[],
    async open(spec) {
      const home = current();
      return sessionIn(home, (await home.ask({ method: 'open', spec })) as number);
    },
    async dispose() {
      const last = thread;
      thread = undefined;
      await last?.end();
    },
  };
}

const sessionIn = (thread: Thread, session: number): Session => ({
  async run(feeds) {
    // The caller keeps its tensors: what moves to the worker is a copy.
    const copies = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, copyOf(tensor)]));
    const results = await thread.ask({ method: 'run', session, feeds: copies }, Object.values(copies));
    return results as Record<string, Tensor>;
  },
  read: async (name) => (await thread.ask({ method: 'read', session, name })) as Tensor,
  async write(name, tensor) {
    const copy = copyOf(tensor);
    await thread.ask({ method: 'write', session, name, tensor: copy }, [copy]);
  },
  async dispose() {
    await thread.ask({ method: 'close', session });
  },
});

function startThread(worker: Worker): Thread {
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: PeftError): void }>();
  let asked = 0;
  let death: PeftError | undefined;

  const die = (reason: string, cause?: unknown) => {
    death ??= new PeftError('BACKEND_UNAVAILABLE', `The worker of ONNX Runtime ended (${reason}): compile again.`, {
      cause,
    });
    for (const { reject } of waiting.values()) reject(death);
    waiting.clear();
  };
  worker.on('error', (error) => die(error.message, error));
  const exit = new Promise<void>((resolve) => {
    worker.on('exit', (code) => {
      die(`exit code ${code}`);
      resolve();
    });
  });
  worker.on('message', (reply: Reply) => {
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (waiting.size === 0) worker.unref();
    if ('fault' in reply)
      call?.reject(new PeftError(reply.fault.code, reply.fault.message, { details: reply.fault.details }));
    else call?.resolve(reply.result);
  });
  worker.unref();

  const ask: Thread['ask'] = (request, tensors = []) =>
    new Promise((resolve, reject) => {
      if (death) return reject(death);
      const id = asked++;
      waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ id, request }, memoryOf(tensors));
    });
  return {
    ask,
    async end() {
      if (death) return;
      await ask({ method: 'end' }).catch(() => {}); // a thread that dies of it has ended too
      worker.ref();
      await exit;
    },
    isDead: () => death !== undefined,
  };
}

/** From source through a loader of TypeScript, from the package as it was built. */
function startWorker(): Worker {
  if (import.meta.url.endsWith('.ts'))
    return new Worker(new URL('./boot.mjs', import.meta.url), { execArgv: ['--conditions=@peftjs/source'] });
  return new Worker(createRequire(import.meta.url).resolve('#worker'));
}
