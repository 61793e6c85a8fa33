import { PeftError } from '@peftjs/core';
import { type AdmissionLimits, admission, type Waiting } from './admission.js';
import type { SlotTable } from './slots.js';

/** What one who waits becomes when it starts: its adapter lies in `slot` (0 is the bare base). */
export interface Started<W extends Waiting> {
  readonly entry: W;
  readonly slot: number;
}

export interface LineOptions {
  readonly slots: SlotTable;
  readonly limits: AdmissionLimits & { readonly waiting: number };
  /** Writes an adapter's weights into a slot, which another one may have held. */
  load(digest: string, slot: number, evicted: string | undefined): Promise<void>;
  readonly now: () => number;
}

/** Everyone who waits for the batch, in order of arrival. */
export interface Line<W extends Waiting> {
  readonly length: number;
  /** @throws PeftError SERVER_BUSY when the line is full, SERVER_CLOSED once it is closed */
  push(entry: W): void;
  /** Takes out whom this is true for. */
  remove(gone: (entry: W) => boolean): W[];
  /** Takes out those who may start now, with their adapters in slots (one reference each); `failed` could not be loaded. */
  admit(running: { readonly rows: number; readonly adapters: ReadonlySet<string> }): Promise<{
    readonly started: readonly Started<W>[];
    readonly failed: readonly { readonly entry: W; readonly error: unknown }[];
  }>;
  close(): void;
}

export function createLine<W extends Waiting>({ slots, limits, load, now }: LineOptions): Line<W> {
  let waiting: W[] = [];
  let closed = false;
  return {
    get length() {
      return waiting.length;
    },
    push(entry) {
      if (closed) throw new PeftError('SERVER_CLOSED', 'The server is stopping and takes no new requests.');
      if (waiting.length >= limits.waiting) {
        const message = `${waiting.length} requests are waiting already, the most this server holds. Try again later.`;
        throw new PeftError('SERVER_BUSY', message, { details: { waiting: waiting.length } });
      }
      waiting.push(entry);
    },
    remove(gone) {
      const removed = waiting.filter(gone);
      waiting = waiting.filter((entry) => !gone(entry));
      return removed;
    },
    async admit(running) {
      const slotOf = new Map<W, number>();
      const loads: { digest: string; slot: number; evicted: string | undefined }[] = [];
      const positions = admission(waiting, { ...running, now: now() }, limits, slots, (entry) => {
        const got =
          entry.adapter === undefined ? { slot: 0, load: false, evicted: undefined } : slots.acquire(entry.adapter)!;
        slotOf.set(entry, got.slot);
        if (got.load) loads.push({ digest: entry.adapter!, slot: got.slot, evicted: got.evicted });
      });
      const chosen = positions.map((position) => waiting[position]!);
      waiting = waiting.filter((entry) => !slotOf.has(entry));
      const failures = new Map<string, unknown>();
      for (const { digest, slot, evicted } of loads) {
        await load(digest, slot, evicted).catch((error: unknown) => failures.set(digest, error));
      }
      const failed = chosen.filter((entry) => entry.adapter !== undefined && failures.has(entry.adapter));
      for (const entry of failed) slots.release(entry.adapter!);
      for (const digest of failures.keys()) slots.drop(digest); // its slot holds nothing usable
      return {
        started: chosen.filter((e) => !failed.includes(e)).map((entry) => ({ entry, slot: slotOf.get(entry)! })),
        failed: failed.map((entry) => ({ entry, error: failures.get(entry.adapter!) })),
      };
    },
    close() {
      closed = true;
    },
  };
}
