import { parentPort } from 'node:worker_threads';
import { isPeftError, PeftError } from '@peftjs/core';
import type { Merge } from '../define.js';
import { builtinMerges, internalMerges } from '../engine/builtin.js';
import { measureTask, perform } from '../engine/perform.js';
import { performWhole } from '../engine/whole.js';
import { platform } from '../platform/node.js';
import { type Fault, memoryOf, type Reply, type Request, type Result, receiveTask } from './protocol.js';

const files = platform.files!;

function mergeOf(name: string): Merge {
  const found = builtinMerges.get(name) ?? internalMerges.get(name);
  if (found) return found.merge as unknown as Merge;
  throw new PeftError('INTERNAL', `A thread was asked for the method "${name}", which it does not know.`);
}

async function answer(request: Request): Promise<Result> {
  const merge = mergeOf(request.merge);
  switch (request.call) {
    case 'perform':
      return perform(merge, receiveTask(request.task, files), request.progress, files);
    case 'measure': {
      const { task, progress, asked, origin } = request;
      return measureTask(merge, receiveTask(task, files), progress, asked, origin, files);
    }
    case 'whole':
      return performWhole(
        merge,
        request.tasks.map((task) => receiveTask(task, files)),
        files,
      );
    default:
      return request satisfies never;
  }
}

const faultOf = (error: unknown): Fault =>
  isPeftError(error)
    ? { code: error.code, message: error.message, details: error.details }
    : { code: 'INTERNAL', message: String((error as Error)?.stack ?? error), details: {} };

parentPort!.on('message', async (request: Request) => {
  try {
    const result = await answer(request);
    parentPort!.postMessage({ result } satisfies Reply, memoryOf(result));
  } catch (error) {
    parentPort!.postMessage({ fault: faultOf(error) } satisfies Reply);
  }
});
