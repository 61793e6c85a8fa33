import { PeftError } from '@peftjs/core';
import type { Prepared } from './content.js';

/** An adapter under a name, as it is now. */
export interface Registered {
  readonly name: string;
  readonly digest: string;
  readonly method?: string;
  readonly labels?: readonly string[];
  readonly generation: number;
  readonly created: number;
  readonly prepared: Prepared;
}

/** Names and contents: several names may share one content; a content that requests hold outlives its name. */
export interface Registry {
  /** @throws PeftError CONFIG_INVALID for a name that cannot be used, or when `expected` is not the present generation */
  check(name: string, expected?: number): void;
  set(entry: Omit<Registered, 'generation' | 'created'>): { readonly now: Registered; readonly before?: Registered };
  /** @throws PeftError ADAPTER_UNKNOWN */
  get(name: string): Registered;
  delete(name: string): Registered;
  /** By digest, for as long as it is registered or held. */
  content(digest: string): Registered | undefined;
  /** Keeps the content of a digest while something uses it; returns the function that ends this. */
  hold(entry: Registered): () => void;
  list(): readonly Registered[];
  /** Contents without a name that something still uses. */
  draining(): readonly Registered[];
}

/** Safe in URLs, file names and metric labels; never used as a path. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export function createRegistry(baseName: string): Registry {
  const names = new Map<string, Registered>();
  const generations = new Map<string, number>(); // survives removal: a generation is never used twice
  const held = new Map<string, { entry: Registered; count: number }>();

  const named = (digest: string) => [...names.values()].find((entry) => entry.digest === digest);
  function get(name: string): Registered {
    const entry = names.get(name);
    if (entry) return entry;
    const message = `No adapter is registered as ${JSON.stringify(name)}. Registered: ${[...names.keys()].join(', ') || 'none'}.`;
    throw new PeftError('ADAPTER_UNKNOWN', message, { details: { name } });
  }

  return {
    check(name, expected) {
      if (!NAME.test(name) || name === baseName) {
        const why =
          name === baseName ? 'it is the name of the base' : 'names are letters, digits, ".", "_" and "-", at most 63';
        throw new PeftError('CONFIG_INVALID', `An adapter cannot be called ${JSON.stringify(name)}: ${why}.`, {
          details: { name },
        });
      }
      const generation = names.has(name) ? generations.get(name)! : 0;
      if (expected !== undefined && expected !== generation) {
        const message = `${JSON.stringify(name)} is at generation ${generation}, not ${expected}: somebody else changed it.`;
        throw new PeftError('CONFIG_INVALID', message, { details: { name, generation, expected } });
      }
    },
    set(entry) {
      const before = names.get(entry.name);
      if (before?.digest === entry.digest) return { now: before };
      const generation = (generations.get(entry.name) ?? 0) + 1;
      const now = { ...entry, generation, created: Math.floor(Date.now() / 1000) };
      generations.set(entry.name, generation);
      names.set(entry.name, now);
      return { now, ...(before ? { before } : {}) };
    },
    get,
    delete(name) {
      const entry = get(name);
      names.delete(name);
      return entry;
    },
    content: (digest) => held.get(digest)?.entry ?? named(digest),
    hold(entry) {
      const holding = held.get(entry.digest) ?? { entry, count: 0 };
      holding.count++;
      held.set(entry.digest, holding);
      let open = true;
      return () => {
        if (!open) return;
        open = false;
        if (--holding.count === 0) held.delete(entry.digest);
      };
    },
    list: () => [...names.values()],
    draining: () => [...held.values()].map(({ entry }) => entry).filter(({ digest }) => !named(digest)),
  };
}
