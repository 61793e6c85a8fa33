import { type Adapter, PeftError } from '@peftjs/core';
import type { WorkerClient } from '../worker/client.js';
import type { HeadContent, Layout, SlotContent } from '../worker/protocol.js';
import { type Base, prepare } from './content.js';
import { createRegistry, type Registered, type Registry } from './registry.js';
import type { SlotTable } from './slots.js';
import type { AdapterInfo, Adapters } from './types.js';

export interface AdapterStore {
  readonly adapters: Adapters;
  readonly registry: Registry;
  /** Gives the graph the base's own heads; before anything else. */
  prepare(): Promise<void>;
  /** Writes the content of a digest into a slot of the worker. */
  load(digest: string, slot: number): Promise<void>;
}

export interface AdapterStoreOptions {
  readonly base: Base;
  /** The base's own heads, for rows whose adapter brings none. */
  readonly heads: readonly HeadContent[];
  readonly worker: Pick<WorkerClient, 'call'>;
  readonly slots: SlotTable;
  /** Reads an adapter directory. */
  read(directory: string): Promise<Adapter>;
}

/** Both layouts in one; the widest head counts. */
function joined(a: Layout, b: Layout): Layout {
  const widths = new Map(a.heads.map(({ path, out }) => [path, out]));
  for (const { path, out } of b.heads) widths.set(path, Math.max(out, widths.get(path) ?? 0));
  return {
    targets: [...new Set([...a.targets, ...b.targets])],
    heads: [...widths].map(([path, out]) => ({ path, out })),
  };
}

/** Adapters from their files to the slots: names, contents in memory, and the layout of the graph they need. */
export function createAdapterStore({ base, heads: own, worker, slots, read }: AdapterStoreOptions): AdapterStore {
  const registry = createRegistry(base.name);
  let layout: Layout = { targets: [], heads: [] };
  let last: Promise<unknown> = Promise.resolve();
  /** Registrations happen one after the other: a layout is never computed from another's past. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };

  const withHeads = ({ factors, heads }: SlotContent): SlotContent => ({
    factors,
    heads: layout.heads.flatMap(({ path }) => [...heads, ...own].find((head) => head.path === path) ?? []),
  });

  async function grow(needed: Layout): Promise<void> {
    const next = joined(layout, needed);
    if (JSON.stringify(next) === JSON.stringify(layout)) return;
    await worker.call('layout', next);
    layout = next;
    await worker.call('load', { slot: 0, content: withHeads({ factors: [], heads: [] }) });
  }

  /** Frees the slot of a content that no name has any more. */
  function retire({ digest }: Registered): void {
    if (!registry.list().some((entry) => entry.digest === digest)) slots.drop(digest);
  }

  function describe(entry: Registered, draining = false): AdapterInfo {
    const resident = slots.list().some(({ digest }) => digest === entry.digest);
    const { name, digest, method, labels, generation, created, prepared } = entry;
    return {
      name,
      digest,
      rank: prepared.rank,
      state: draining ? 'draining' : resident ? 'resident' : 'host',
      generation,
      bytes: prepared.bytes,
      created,
      ...(method === undefined ? {} : { method }),
      ...(labels === undefined ? {} : { labels }),
    };
  }

  return {
    registry,
    prepare: () => inTurn(() => grow({ targets: [], heads: own.map(({ path, out }) => ({ path, out })) })),
    async load(digest, slot) {
      const entry = registry.content(digest);
      if (!entry) throw new PeftError('INTERNAL', `The adapter ${digest} is gone though a request holds it.`);
      await worker.call('load', { slot, content: withHeads(entry.prepared.content) });
    },
    adapters: {
      put: (name, source, { generation } = {}) =>
        inTurn(async () => {
          registry.check(name, generation);
          const adapter = typeof source === 'string' ? await read(source) : source;
          const prepared = await prepare(adapter, base);
          await grow(prepared.layout);
          const { now, before } = registry.set({
            name,
            digest: adapter.digest,
            prepared,
            ...(adapter.method ? { method: adapter.method.name } : {}),
            ...(adapter.task?.labels ? { labels: adapter.task.labels } : {}),
          });
          if (before) retire(before);
          return describe(now);
        }),
      remove: (name) => inTurn(async () => retire(registry.delete(name))),
      list: () => [
        ...registry.list().map((entry) => describe(entry)),
        ...registry.draining().map((entry) => describe(entry, true)),
      ],
    },
  };
}
