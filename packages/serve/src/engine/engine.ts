import { PeftError, readAdapter } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import { startWorker, type WorkerClient } from '../worker/client.js';
import { openBase } from '../worker/model.js';
import { createAdapterStore } from './adapters.js';
import { createBatcher } from './batcher.js';
import { readHeads } from './content.js';
import { createGeneration } from './generation.js';
import { type EngineOptions, type ResolvedOptions, resolveOptions } from './options.js';
import { classificationsOf, readTexts } from './reading.js';
import { createScheduler } from './scheduler.js';
import { createSlotTable, type SlotTable } from './slots.js';
import type { Engine, EngineEvent, EngineTask } from './types.js';

/** Tokens read between two decode runs at most, and milliseconds after which nobody overtakes the head of the line. */
const LIMITS = { prefill: 2048, patience: 3000 } as const;

/** Token limit where neither the caller nor the model has one. */
const DEFAULT_TOKENS = 2048;

/** What the parts of an engine share. */
interface Parts {
  /** What plugins bring. */
  readonly plugins: Pick<EngineOptions, 'kinds' | 'layouts'>;
  readonly name: string;
  readonly model: Model;
  readonly options: ResolvedOptions;
  readonly worker: WorkerClient;
  readonly slots: SlotTable;
  readonly emit: (event: EngineEvent) => void;
}

/** The classification head: where it is, and whether the base has one of its own. */
function headOf({ model, options: { task } }: Pick<Parts, 'model' | 'options'>) {
  const path = task === 'classify' ? model.architecture.heads[model.task.head.name]?.module : undefined;
  return path === undefined ? undefined : { path, own: model.created.length === 0 };
}

async function openStore({ name, model, options, worker, slots, plugins }: Parts) {
  const head = headOf({ model, options });
  const parameters = [...model.parameters].filter(([path]) => head?.own && path.startsWith(`${head.path}.`));
  const store = createAdapterStore({
    base: {
      name,
      digest: model.digest,
      targets: new Map(model.targets.map((target) => [target.path, target])),
      rank: options.rank,
      heads: new Map(head ? [[head.path, head]] : []),
      ...(plugins.kinds && { kinds: plugins.kinds }),
    },
    heads: await readHeads(new Map(parameters)),
    worker,
    slots,
    read: (directory) => readAdapter(directory, plugins),
  });
  await store.prepare();
  return store;
}

/** The two ways into the batch: sequences that grow, and texts that are read once. */
function openLines({ options, worker, slots, emit }: Parts, load: (digest: string, slot: number) => Promise<void>) {
  const shared = {
    slots,
    limits: { rows: options.maxBatch, adapters: options.adapters, waiting: options.maxWaiting, ...LIMITS },
    async load(digest: string, slot: number, evicted: string | undefined) {
      const began = performance.now();
      await load(digest, slot);
      emit({ type: 'loaded', seconds: (performance.now() - began) / 1000, evicted: evicted !== undefined });
    },
  };
  const scheduler = createScheduler({
    ...shared,
    model: { step: (step) => worker.call('step', step) },
    ran: (batch, phase) => emit({ type: 'run', phase, batch }),
  });
  const batcher = createBatcher({
    ...shared,
    run: (rows) => worker.call('read', { rows }),
    ran: (batch) => emit({ type: 'run', phase: 'read', batch }),
  });
  return { scheduler, batcher };
}

/**
 * Starts an engine: one base, many adapters, every batch mixed. The model runs in a worker thread.
 * @throws PeftError for a model or a backend that cannot be used, CONFIG_INVALID for limits that cannot be
 */
export async function createEngine(given: EngineOptions): Promise<Engine> {
  const options = resolveOptions(given);
  const { directory, task, backend, adapters, rank } = options;
  const model = await openBase(directory, task);
  const name = given.name ?? model.name;
  const maxTokens = Math.min(given.maxTokens ?? Number.POSITIVE_INFINITY, model.config.maxPositions ?? DEFAULT_TOKENS);
  const listeners = new Set<(event: EngineEvent) => void>();
  const emit = (event: EngineEvent) => listeners.forEach((listener) => void listener(event));

  const worker = await startWorker({ directory, task, backend, adapters, rank });
  const slots = createSlotTable(adapters);
  const plugins = {
    ...(given.kinds && { kinds: given.kinds }),
    ...(given.layouts && { layouts: given.layouts }),
  };
  const parts: Parts = { name, model, options, worker, slots, emit, plugins };
  const {
    adapters: registered,
    registry,
    load,
  } = await openStore(parts).catch(async (error: unknown) => {
    await worker.dispose();
    throw error;
  });
  const { scheduler, batcher } = openLines(parts, load);
  const request = { model: { ...model, name }, registry, maxTokens, emit };

  let state: 'ready' | 'draining' | 'failed' | 'ended' = 'ready';
  const abort = (error: unknown) => {
    scheduler.abort(error);
    batcher.abort(error);
  };
  worker.failed.then((error) => {
    state = 'failed';
    abort(error);
  });
  const requireTask = (wanted: EngineTask) => {
    if (task === wanted) return;
    const message = `This server serves ${name} to ${task}, not to ${wanted}.`;
    throw new PeftError('MODEL_UNSUPPORTED', message, { details: { task, wanted } });
  };

  return {
    name,
    task,
    created: Math.floor(Date.now() / 1000),
    maxTokens,
    adapters: registered,
    generate(of) {
      requireTask('generate');
      return createGeneration({ ...request, scheduler }, of);
    },
    async embed(inputs, of = {}) {
      requireTask('embed');
      const read = await readTexts({ ...request, batcher }, inputs, of);
      const { outputs: vectors, promptTokens, batch, entry } = read;
      return { vectors, promptTokens, batch, ...(entry ? { digest: entry.digest } : {}) };
    },
    async classify(inputs, of = {}) {
      requireTask('classify');
      if (of.adapter === undefined && !headOf(parts)?.own) {
        throw new PeftError(
          'ADAPTER_UNKNOWN',
          `${name} has no classification head of its own: name one of its adapters.`,
        );
      }
      const read = await readTexts({ ...request, batcher }, inputs, of);
      const { promptTokens, batch, entry } = read;
      const results = classificationsOf(read, model.task.labels ?? []);
      return { results, promptTokens, batch, ...(entry ? { digest: entry.digest } : {}) };
    },
    state: () => ({
      ready: state === 'ready',
      waiting: scheduler.waiting + batcher.waiting,
      running: scheduler.running + batcher.running,
      slots: slots.list(),
    }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async drain() {
      if (state === 'ready') state = 'draining';
      await Promise.all([scheduler.drain(), batcher.drain()]);
    },
    async dispose() {
      state = 'ended';
      abort(new PeftError('SERVER_CLOSED', 'The server has been stopped.'));
      await worker.dispose();
    },
  };
}
