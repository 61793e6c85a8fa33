/** What a slot holds at present. */
export interface SlotEntry {
  readonly slot: number;
  readonly digest: string;
  /** Sequences that are using it: a slot in use is never given away. */
  readonly references: number;
}

export interface SlotTable {
  /** Slots that can hold an adapter; slot 0, the bare base, is not counted. */
  readonly capacity: number;
  /** Whether `acquire` would succeed now. */
  available(digest: string): boolean;
  /**
   * A slot for the adapter and one more reference to it; `load` says that its weights have to be written there first.
   * Takes a free slot, else the least recently used one without references; undefined when there is none.
   */
  acquire(
    digest: string,
  ): { readonly slot: number; readonly load: boolean; readonly evicted: string | undefined } | undefined;
  release(digest: string): void;
  /** Forgets what unreferenced slots hold, for one adapter or for all; true when nothing of it is in use any more. */
  drop(digest?: string): boolean;
  list(): readonly SlotEntry[];
}

/**
 * Which adapter lies in which slot, by content digest. Only bookkeeping: the weights lie with whoever runs the model.
 * Slot 0 always stands for the bare base and is never given out.
 */
export function createSlotTable(capacity: number): SlotTable {
  // Insertion order is order of use: the first entry without references is the least recently used one.
  const held = new Map<string, { slot: number; references: number }>();
  const free = Array.from({ length: capacity }, (_, i) => capacity - i);
  const victim = () => [...held].find(([, entry]) => entry.references === 0)?.[0];

  return {
    capacity,
    available: (digest) => held.has(digest) || free.length > 0 || victim() !== undefined,
    acquire(digest) {
      const present = held.get(digest);
      if (present) {
        present.references++;
        held.delete(digest);
        held.set(digest, present);
        return { slot: present.slot, load: false, evicted: undefined };
      }
      const evicted = free.length > 0 ? undefined : victim();
      const slot = evicted === undefined ? free.pop() : held.get(evicted)!.slot;
      if (slot === undefined) return undefined;
      if (evicted !== undefined) held.delete(evicted);
      held.set(digest, { slot, references: 1 });
      return { slot, load: true, evicted };
    },
    release(digest) {
      const entry = held.get(digest);
      if (entry && entry.references > 0) entry.references--;
    },
    drop(digest) {
      let clear = true;
      for (const [key, entry] of [...held]) {
        if (digest !== undefined && key !== digest) continue;
        if (entry.references > 0) {
          clear = false;
          continue;
        }
        held.delete(key);
        free.push(entry.slot);
      }
      return clear;
    },
    list: () => [...held].map(([digest, { slot, references }]) => ({ slot, digest, references })),
  };
}
