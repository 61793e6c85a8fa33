import {
  builtinKinds,
  builtinLayouts,
  createRun,
  type Delta,
  denseTerm,
  PeftError,
  type Run,
  type TensorRef,
  tensorRef,
  writeAdapter,
  writeSafetensors,
} from '@peftjs/core';
import { platform } from '#platform';
import { reportsOf } from './channel.js';
import { deltaMetadata } from './delta-file.js';
import type { MergeEvent } from './events.js';
import type { MergeResult } from './options.js';
import { inMemory, writeCheckpoint } from './output.js';
import { type Emit, type Prepared, prepare, type Request } from './prepare.js';

const deltaOf = (tensors: ReadonlyMap<string, TensorRef>): Delta => ({
  shape: new Map([...tensors].map(([name, { shape }]) => [name, shape])),
  params: new Map([...tensors].map(([name, ref]) => [name, [denseTerm(ref)]])),
});

const formOf = ({ as }: Request, alone: boolean) => as ?? (alone ? 'delta' : 'checkpoint');

/** Whether the result is what is added to the base. @throws PeftError CONFIG_INVALID for a form that it cannot have */
function isDifference(request: Request, { alone, hasBase }: { alone: boolean; hasBase: boolean }): boolean {
  const as = formOf(request, alone);
  if (as === 'checkpoint' && alone && request.output !== undefined)
    throw new PeftError('CONFIG_INVALID', 'Updates without a base make no checkpoint: name the base.');
  if (as !== 'checkpoint' && !alone && !hasBase)
    throw new PeftError('CONFIG_INVALID', `A result as ${as} is a difference from a base: name the base.`);
  return as !== 'checkpoint' && !alone;
}

async function toDirectory(request: Request, path: string, prepared: Prepared): Promise<void> {
  const { base, models, plan } = prepared;
  const like = base?.directory ?? models.find(({ directory }) => directory !== undefined)?.directory;
  const { maxShardBytes, tokenizer, outDtype, record } = request;
  const output = { path, maxShardBytes, like, tokenizer, outDtype, layers: plan.layers, record };
  await writeCheckpoint(plan.tasks, output, platform.files, prepared.perform);
}

/** Writes an update that has been merged in memory. */
async function writeUpdate(
  request: Request,
  { madeFor }: Prepared,
  output: string,
  as: 'adapter' | 'delta',
  refs: ReadonlyMap<string, TensorRef>,
  signal: AbortSignal,
): Promise<Partial<MergeResult>> {
  if (as === 'delta') {
    const path = output.endsWith('.safetensors') ? output : platform.files!.join(output, 'model.safetensors');
    await writeSafetensors(path, refs, { metadata: deltaMetadata, signal });
    return {};
  }
  const { rank, energy, kinds = builtinKinds, layouts = builtinLayouts } = request;
  const base = typeof request.base === 'string' ? { ...madeFor, name: request.base } : madeFor;
  const limits = { ...(rank !== undefined && { rank }), ...(energy !== undefined && { energy }) };
  const adapter = { delta: deltaOf(refs), replaced: new Map(), digest: '', ...(base && { base }) };
  const { truncation } = await writeAdapter(output, adapter, { kinds, layouts, signal, ...limits });
  return truncation ? { discarded: truncation.discarded } : {};
}

async function work(request: Request, emit: Emit, signal: AbortSignal): Promise<MergeResult> {
  const { output } = request;
  const onDisk = (alone: boolean) => output !== undefined && formOf(request, alone) === 'checkpoint';
  const prepared = await prepare(
    request,
    { differenceOf: (inputs) => isDifference(request, inputs), inMemory: (alone) => !onDisk(alone) },
    emit,
    signal,
  );
  const { plan, alone } = prepared;
  const result = { method: request.bound.merge.name, tensors: plan.tasks.length };
  if (output !== undefined && onDisk(alone)) {
    await toDirectory(request, output, prepared);
    return { ...result, output };
  }
  const memory = inMemory(plan.tasks);
  await prepared.perform(memory.tasks, memory.keep);
  const refs = new Map([...memory.tensors()].map(([name, tensor]) => [name, tensorRef(tensor)]));
  const as = formOf(request, alone);
  if (as === 'checkpoint') return { ...result, parameters: refs };
  if (output === undefined) return { ...result, delta: deltaOf(refs) };
  return { ...result, output, ...(await writeUpdate(request, prepared, output, as, refs, signal)) };
}

export const runMerge = (request: Request): Run<MergeEvent, MergeResult> =>
  createRun<MergeEvent, MergeResult>(
    (signal) => reportsOf(signal, (emit, inner) => work(request, emit, inner)),
    request.signal,
  );
