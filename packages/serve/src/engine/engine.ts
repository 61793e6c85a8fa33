import { PeftError, readAdapter } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import { startWorker } from '../worker/client.js';
import { openBase, taskOf } from '../worker/model.js';
import type { BackendChoice } from '../worker/protocol.js';
import { createAdapterStore } from './adapters.js';
import { createBatcher, type Reading } from './batcher.js';
import { readHeads } from './content.js';
import { createGeneration } from './generation.js';
import { readTexts, softmax } from './reading.js';
import { createScheduler, type Scheduler, type Sequence } from './scheduler.js';
import { createSlotTable } from './slots.js';
import type { Engine, EngineEvent, EngineTask } from './types.js';

export interface EngineOptions {
  /** The base: a model directory, or a loaded model. It is opened again in the worker. */
  readonly model: string | Pick<Model, 'directory' | 'task'>;
  /** What is served. Default: the loaded model's task; for a directory what its architecture was made for. */
  readonly task?: EngineTask;
  /** Name under which clients ask for the base. Default: the directory's. */
  readonly name?: string;
  /** A backend, or its name and device; it is made again in the worker. Default: onnxruntime on the CPU. */
  readonly backend?: { readonly name: string; readonly device?: string };
  readonly threads?: number;
  /** Adapters that lie ready at once, and the largest rank they can have. Default 32 and 16. */
  readonly slots?: { readonly adapters?: number; readonly rank?: number };
  /** Rows of a batch. Default 16. */
  readonly maxBatch?: number;
  /** Tokens of a prompt and its answer together. Default: what the model has positions for. */
  readonly maxTokens?: number;
  /** Requests that may wait. Default 256. */
  readonly maxWaiting?: number;
}

/** Tokens read between two decode runs at most, and milliseconds after which nobody overtakes the head of the line. */
const LIMITS = { prefill: 2048, patience: 3000 } as const;

/** Token limit where neither the caller nor the model has one. */
const DEFAULT_TOKENS = 2048;

/**
 * Starts an engine: one base, many adapters, every batch mixed. The model runs in a worker thread.
 * @throws PeftError for a model or a backend that cannot be used, CONFIG_INVALID for limits that cannot be
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { model: given, threads, maxBatch = 16, maxWaiting = 256 } = options;
  const { adapters: capacity = 32, rank = 16 } = options.slots ?? {};
  checkLimits({ maxBatch, maxWaiting, 'slots.adapters': capacity, 'slots.rank': rank });
  const directory = typeof given === 'string' ? given : given.directory;
  const task = options.task ?? (typeof given === 'string' ? undefined : taskOf(given.task.name)) ?? 'generate';
  const model = await openBase(directory, task);
  const maxTokens = Math.min(
    options.maxTokens ?? Number.POSITIVE_INFINITY,
    model.config.maxPositions ?? DEFAULT_TOKENS,
  );
  checkLimits({ maxTokens });
  const name = options.name ?? model.name;

  const listeners = new Set<(event: EngineEvent) => void>();
  const emit = (event: EngineEvent) => listeners.forEach((listener) => void listener(event));
  const worker = await startWorker({
    directory,
    task,
    backend: backendChoice(options.backend, threads),
    adapters: capacity,
    rank,
  });

  const slots = createSlotTable(capacity);
  const head = task === 'classify' ? headPath(model) : undefined;
  const ownHead = head !== undefined && model.created.length === 0;
  const own = ownHead
    ? await readHeads(new Map([...model.parameters].filter(([path]) => path.startsWith(`${head}.`))))
    : [];
  const store = createAdapterStore({
    base: {
      name,
      digest: model.digest,
      targets: new Map(model.targets.map((target) => [target.path, target])),
      rank,
      heads: new Map(head === undefined ? [] : [[head, { own: ownHead }]]),
    },
    heads: own,
    worker,
    slots,
    read: readAdapter,
  });
  await store.prepare();

  const shared = {
    slots,
    limits: { rows: maxBatch, adapters: capacity, waiting: maxWaiting, ...LIMITS },
    async load(digest: string, slot: number, evicted: string | undefined) {
      const began = performance.now();
      await store.load(digest, slot);
      emit({ type: 'loaded', seconds: (performance.now() - began) / 1000, evicted: evicted !== undefined });
    },
  };
  const scheduler: Scheduler<Sequence> = createScheduler({
    ...shared,
    model: { step: (step) => worker.call('step', step) },
    ran: (batch, phase) => emit({ type: 'run', phase, batch }),
  });
  const batcher: Scheduler<Reading> = createBatcher({
    ...shared,
    run: (rows) => worker.call('read', { rows }),
    ran: (batch) => emit({ type: 'run', phase: 'read', batch }),
  });

  let state: 'ready' | 'draining' | 'failed' | 'ended' = 'ready';
  worker.failed.then((error) => {
    state = 'failed';
    scheduler.abort(error);
    batcher.abort(error);
  });

  const requireTask = (wanted: EngineTask) => {
    if (task === wanted) return;
    throw new PeftError('MODEL_UNSUPPORTED', `This server serves ${name} to ${task}, not to ${wanted}.`, {
      details: { task, wanted },
    });
  };
  const parts = { model: { ...model, name }, registry: store.registry, maxTokens, emit };

  const engine: Engine = {
    name,
    task,
    created: Math.floor(Date.now() / 1000),
    maxTokens,
    adapters: store.adapters,
    generate(request) {
      requireTask('generate');
      return createGeneration({ ...parts, scheduler }, request);
    },
    async embed(inputs, request = {}) {
      requireTask('embed');
      const { outputs, promptTokens, batch, entry } = await readTexts({ ...parts, batcher }, inputs, request);
      return { vectors: outputs, promptTokens, batch, ...(entry ? { digest: entry.digest } : {}) };
    },
    async classify(inputs, request = {}) {
      requireTask('classify');
      if (request.adapter === undefined && !ownHead) {
        throw new PeftError(
          'ADAPTER_UNKNOWN',
          `${name} has no classification head of its own: name one of its adapters.`,
        );
      }
      const { outputs, promptTokens, batch, entry } = await readTexts({ ...parts, batcher }, inputs, request);
      const labels = labelsOf(entry?.labels, entry?.prepared.layout.heads[0]?.out, model.task.labels ?? []);
      const results = outputs.map((logits) => {
        const p = softmax(logits, labels.length);
        return {
          label: labels[p.indexOf(Math.max(...p))]!,
          scores: Object.fromEntries(labels.map((label, i) => [label, p[i]!])),
        };
      });
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
      const error = new PeftError('SERVER_CLOSED', 'The server has been stopped.');
      scheduler.abort(error);
      batcher.abort(error);
      await worker.dispose();
    },
  };
  return engine;
}

function checkLimits(limits: Readonly<Record<string, number>>): void {
  const wrong = Object.entries(limits).filter(([, value]) => !Number.isInteger(value) || value < 1);
  if (wrong.length === 0) return;
  const given = wrong.map(([key, value]) => `${key} is ${value}`).join(', ');
  throw new PeftError('CONFIG_INVALID', `The limits of an engine are whole numbers from 1: ${given}.`, {
    details: Object.fromEntries(wrong),
  });
}

/** Every backend of this project is a package that exports a function of its name. */
const backendChoice = (
  { name, device }: NonNullable<EngineOptions['backend']> = { name: 'onnxruntime' },
  threads?: number,
): BackendChoice => ({
  module: `@peftjs/${name}`,
  factory: name,
  options: { ...(device === undefined ? {} : { device }), ...(threads === undefined ? {} : { threads }) },
});

const headPath = (model: Model): string | undefined => model.architecture.heads[model.task.head.name]?.module;

/** An adapter's labels; numbers for a head of its own without names; else those of the base. */
const labelsOf = (
  labels: readonly string[] | undefined,
  outputs: number | undefined,
  base: readonly string[],
): readonly string[] => labels ?? (outputs === undefined ? base : Array.from({ length: outputs }, (_, i) => String(i)));
