import type { Example } from '@peftjs/core';
import { createLine, type LineOptions, type Started } from './line.js';
import type { BatchInfo, Scheduler } from './scheduler.js';

/** One text to be read once: an embedding or a classification. */
export interface Reading {
  readonly adapter: string | undefined;
  readonly example: Example;
  done(output: Float32Array, batch: BatchInfo): void;
  failed(error: unknown): void;
}

export interface BatcherOptions extends Omit<LineOptions, 'now'> {
  /** One run over rows of any adapters; one vector a row. */
  run(rows: readonly { readonly example: Example; readonly slot: number }[]): Promise<readonly Float32Array[]>;
  readonly now?: () => number;
  readonly ran?: (batch: BatchInfo) => void;
}

interface Entry {
  readonly reading: Reading;
  readonly adapter: string | undefined;
  readonly arrived: number;
  readonly length: number;
}

/** Micro-batching for models that read a text once: whatever waits when a run ends goes into the next one, all tenants together. */
export function createBatcher({ run, ran, now = Date.now, ...rest }: BatcherOptions): Scheduler<Reading> {
  const line = createLine<Entry>({ ...rest, now });
  const { slots } = rest;
  let inRun: readonly Started<Entry>[] = [];
  let turning = false;
  const idle: (() => void)[] = [];

  async function turn(): Promise<void> {
    const { started, failed } = await line.admit({ rows: 0, adapters: new Set() });
    for (const { entry, error } of failed) entry.reading.failed(error);
    if (started.length === 0) return;
    inRun = started;
    const adapters = new Set(started.flatMap(({ entry }) => (entry.adapter === undefined ? [] : [entry.adapter])));
    const batch = { rows: started.length, adapters: adapters.size };
    try {
      const outputs = await run(started.map(({ entry, slot }) => ({ example: entry.reading.example, slot })));
      ran?.(batch);
      for (const [i, { entry }] of started.entries()) entry.reading.done(outputs[i]!, batch);
    } catch (error) {
      for (const { entry } of started) entry.reading.failed(error);
    } finally {
      for (const { entry } of started) if (entry.adapter !== undefined) slots.release(entry.adapter);
      inRun = [];
    }
  }

  async function loop(): Promise<void> {
    if (turning) return;
    turning = true;
    while (line.length > 0) await turn();
    turning = false;
    for (const resolve of idle.splice(0)) resolve();
  }

  return {
    submit(reading) {
      const { adapter, example } = reading;
      const entry: Entry = { reading, adapter, arrived: now(), length: example.length };
      line.push(entry);
      queueMicrotask(() => void loop());
      return {
        cancel(reason) {
          for (const { reading: gone } of line.remove((e) => e === entry)) gone.failed(reason);
        },
      };
    },
    get waiting() {
      return line.length;
    },
    get running() {
      return inRun.length;
    },
    async drain() {
      line.close();
      if (turning || line.length > 0) await new Promise<void>((resolve) => idle.push(resolve));
    },
    abort(error) {
      for (const { reading } of line.remove(() => true)) reading.failed(error);
    },
  };
}
