import { createLine, type LineOptions, type Started } from './line.js';
import type { Ran, Sampling, StepModel } from './step.js';

/** The batch that served a token: its rows, and the distinct adapters among them (the bare base is none). */
export interface BatchInfo {
  readonly rows: number;
  readonly adapters: number;
}

/** A sequence as the scheduler handles it. The callbacks are called from its loop and must not throw. */
export interface Sequence {
  /** Digest; undefined is the bare base. */
  readonly adapter: string | undefined;
  readonly tokens: readonly number[];
  readonly sampling: Sampling;
  /** Called when it leaves the line. */
  started(): void;
  /** Takes the next token; false ends the sequence. */
  accept(token: number, batch: BatchInfo): boolean;
  /** Called once, after the last token or with what went wrong. */
  ended(error?: unknown): void;
}

export interface SchedulerOptions extends Omit<LineOptions, 'now'> {
  readonly model: StepModel;
  readonly now?: () => number;
  /** Told after every run of the graph. */
  readonly ran?: (batch: BatchInfo, phase: Ran['phase']) => void;
}

export interface Scheduler<S> {
  /** @throws PeftError SERVER_BUSY when the line is full, SERVER_CLOSED while draining */
  submit(sequence: S): { cancel(reason: unknown): void };
  readonly waiting: number;
  readonly running: number;
  /** Takes nothing new and resolves when everything accepted so far has ended. */
  drain(): Promise<void>;
  /** Ends everything at once with this error. */
  abort(error: unknown): void;
}

interface Entry {
  readonly id: number;
  readonly sequence: Sequence;
  readonly adapter: string | undefined;
  readonly arrived: number;
  readonly length: number;
  cancelled?: { readonly reason: unknown };
}

/**
 * Continuous batching: sequences of different adapters and of the bare base share every decode run, join when there is
 * room and leave one by one. One loop, one step of the model at a time.
 */
export function createScheduler({ model, ran, now = Date.now, ...rest }: SchedulerOptions): Scheduler<Sequence> {
  const line = createLine<Entry>({ ...rest, now });
  const { slots } = rest;
  const running = new Map<number, Entry>();
  let released: number[] = [];
  let turning = false;
  let last = 0;
  const idle: (() => void)[] = [];

  function end(entry: Entry, error?: unknown): void {
    if (!running.delete(entry.id)) return;
    released.push(entry.id);
    if (entry.adapter !== undefined) slots.release(entry.adapter);
    entry.sequence.ended(error);
  }

  function dropCancelled(): void {
    for (const entry of line.remove((e) => e.cancelled !== undefined)) entry.sequence.ended(entry.cancelled!.reason);
    for (const entry of [...running.values()]) if (entry.cancelled) end(entry, entry.cancelled.reason);
  }

  async function admit(): Promise<readonly Started<Entry>[]> {
    const adapters = new Set([...running.values()].flatMap((e) => (e.adapter === undefined ? [] : [e.adapter])));
    const { started, failed } = await line.admit({ rows: running.size, adapters });
    for (const { entry, error } of failed) entry.sequence.ended(error);
    for (const { entry } of started) {
      running.set(entry.id, entry);
      entry.sequence.started();
    }
    return started;
  }

  function take({ phase, tokens }: Ran): void {
    const rows = tokens.map(({ id }) => running.get(id));
    const adapters = new Set(rows.flatMap((e) => (e?.adapter === undefined ? [] : [e.adapter])));
    const batch = { rows: rows.length, adapters: adapters.size };
    ran?.(batch, phase);
    for (const [i, { token }] of tokens.entries()) {
      const entry = rows[i];
      if (entry && !entry.cancelled && !entry.sequence.accept(token, batch)) end(entry);
    }
  }

  async function turn(): Promise<void> {
    dropCancelled();
    const decode = [...running.keys()];
    const prefill = (await admit()).map(({ entry: { id, sequence }, slot }) => ({
      id,
      slot,
      tokens: sequence.tokens,
      sampling: sequence.sampling,
    }));
    const release = released;
    released = [];
    if (prefill.length + decode.length + release.length === 0) return;
    for (const run of await model.step({ release, prefill, decode })) take(run);
  }

  function abort(error: unknown): void {
    for (const entry of line.remove(() => true)) entry.sequence.ended(error);
    for (const entry of [...running.values()]) end(entry, error);
  }

  async function loop(): Promise<void> {
    if (turning) return;
    turning = true;
    while (line.length + running.size + released.length > 0) {
      try {
        await turn();
      } catch (error) {
        released = []; // no use telling a model that just failed
        abort(error);
        released = [];
      }
    }
    turning = false;
    for (const resolve of idle.splice(0)) resolve();
  }

  return {
    submit(sequence) {
      const { adapter, tokens } = sequence;
      const entry: Entry = { id: ++last, sequence, adapter, arrived: now(), length: tokens.length };
      line.push(entry);
      queueMicrotask(() => void loop()); // everything submitted in one go starts in one batch
      return {
        cancel(reason) {
          entry.cancelled ??= { reason };
          void loop();
        },
      };
    },
    get waiting() {
      return line.length;
    },
    get running() {
      return running.size;
    },
    async drain() {
      line.close();
      if (line.length + running.size > 0 || turning) await new Promise<void>((resolve) => idle.push(resolve));
    },
    abort,
  };
}
