import { parentPort } from 'node:worker_threads';
import { isPeftError, type Tensor } from '@peftjs/core';
import { localExecutor } from '../local.js';
import type { Session } from '../session.js';
import { type Call, type Fault, memoryOf, type Reply, type Request } from './protocol.js';

const executor = localExecutor();
/** By their number; a disposed one stays, so that later calls are told what they did. */
const sessions: Session[] = [];

/** Each answer with the tensors in it, whose memory goes over with it. */
async function answer(request: Request): Promise<{ result?: unknown; tensors?: readonly Tensor[] }> {
  switch (request.method) {
    case 'devices':
      return { result: await executor.devices(request.runtime, request.device) };
    case 'open':
      return { result: sessions.push(await executor.open(request.spec)) - 1 };
    case 'run': {
      const result = await sessions[request.session]!.run(request.feeds);
      return { result, tensors: Object.values(result) };
    }
    case 'read': {
      const result = await sessions[request.session]!.read(request.name);
      return { result, tensors: [result] };
    }
    case 'write':
      await sessions[request.session]!.write(request.name, request.tensor);
      return {};
    case 'close':
      await sessions[request.session]!.dispose();
      return {};
    case 'end':
      await executor.dispose();
      return {};
    default:
      return request satisfies never;
  }
}

const faultOf = (error: unknown): Fault =>
  isPeftError(error)
    ? { code: error.code, message: error.message, details: error.details }
    : { code: 'INTERNAL', message: String((error as Error)?.stack ?? error), details: {} };

parentPort!.on('message', async ({ id, request }: Call) => {
  const reply = await answer(request).catch((error: unknown) => ({ fault: faultOf(error) }));
  if ('fault' in reply) parentPort!.postMessage({ id, fault: reply.fault } satisfies Reply);
  else parentPort!.postMessage({ id, result: reply.result } satisfies Reply, memoryOf(reply.tensors ?? []));
  if (request.method === 'end') parentPort!.close();
});
