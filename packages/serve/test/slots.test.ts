import { describe, expect, it } from 'vitest';
import { admission } from '../src/engine/admission.js';
import { createSlotTable } from '../src/engine/slots.js';

describe('slot table', () => {
  it('gives slots from 1, the same one to the same adapter', () => {
    const table = createSlotTable(2);
    expect(table.acquire('a')).toEqual({ slot: 1, load: true, evicted: undefined });
    expect(table.acquire('a')).toEqual({ slot: 1, load: false, evicted: undefined });
    expect(table.list()).toEqual([{ slot: 1, digest: 'a', references: 2 }]);
  });

  it('evicts the least recently used one that nobody refers to', () => {
    const table = createSlotTable(2);
    for (const digest of ['a', 'b']) table.acquire(digest);
    for (const digest of ['a', 'b']) table.release(digest);
    table.acquire('a');
    table.release('a');
    expect(table.acquire('c')).toEqual({ slot: 2, load: true, evicted: 'b' });
  });

  it('never gives away a slot in use', () => {
    const table = createSlotTable(1);
    table.acquire('a');
    expect(table.available('b')).toBe(false);
    expect(table.acquire('b')).toBeUndefined();
    table.release('a');
    expect(table.available('b')).toBe(true);
  });

  it('drops what is not in use, and says whether that was all', () => {
    const table = createSlotTable(2);
    table.acquire('a');
    table.acquire('b');
    table.release('b');
    expect(table.drop('b')).toBe(true);
    expect(table.drop('a')).toBe(false);
    expect(table.list().map(({ digest }) => digest)).toEqual(['a']);
  });
});

describe('admission', () => {
  const limits = { rows: 4, adapters: 2, prefill: 100, patience: 1000 };
  const waiting = (...adapters: (string | undefined)[]) =>
    adapters.map((adapter) => ({ adapter, arrived: 0, length: 10 }));
  const admit = (
    line: ReturnType<typeof waiting>,
    state: { rows?: number; adapters?: string[]; now?: number } = {},
    of = limits,
  ) =>
    admission(
      line,
      { rows: state.rows ?? 0, adapters: new Set(state.adapters), now: state.now ?? 0 },
      of,
      { available: () => true },
      () => {},
    );

  it('takes everyone there is room for, in order', () => {
    expect(admit(waiting('a', undefined, 'b', 'a', 'a'))).toEqual([0, 1, 2, 3]);
  });

  it('lets requests of running adapters and of the base past one whose adapter has no place', () => {
    expect(admit(waiting('c', 'a', undefined), { rows: 1, adapters: ['a', 'b'] })).toEqual([1, 2]);
  });

  it('lets nobody past one that has waited too long', () => {
    expect(admit(waiting('c', 'a'), { rows: 1, adapters: ['a', 'b'], now: 1001 })).toEqual([]);
  });

  it('bounds the tokens read in one step, but always takes the first', () => {
    const [long, short] = [{ adapter: undefined, arrived: 0, length: 500 }, ...waiting('a')];
    expect(admit([long!, short!])).toEqual([0]);
  });
});
