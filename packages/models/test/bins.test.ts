import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cheapestBins, ignored, packBatch, paddedBins, type Sequence, splitBins } from '../src/index.js';

const lengths = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 48 });
const heights = (bins: readonly (readonly number[])[], of: readonly number[]) =>
  bins.map((bin) => bin.reduce((sum, i) => sum + of[i]!, 0));

describe('bins', () => {
  it('hold every sample exactly once', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 20 }), (of, count) => {
        const bins = splitBins(of, count);
        expect(bins.length).toBeLessThanOrEqual(count);
        expect(bins.flat().sort((a, b) => a - b)).toEqual(of.map((_, i) => i));
      }),
    );
  });

  it('are at most a third higher than the best possible (the bound of longest first)', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 20 }), (of, count) => {
        const lower = Math.max(...of, Math.ceil(of.reduce((a, b) => a + b, 0) / count));
        // Longest first stays within 4/3 of the optimum (Graham 1969), which is at most twice this lower bound.
        expect(Math.max(...heights(splitBins(of, count), of))).toBeLessThanOrEqual((4 / 3) * 2 * lower);
      }),
    );
  });

  it('fill evenly what can be filled evenly', () => {
    expect(heights(splitBins([7, 6, 5, 4, 3, 2], 3), [7, 6, 5, 4, 3, 2])).toEqual([9, 9, 9]);
    expect(Math.max(...heights(splitBins([5, 5, 4, 4, 3, 3, 3], 3), [5, 5, 4, 4, 3, 3, 3]))).toBe(9); // swaps get there
  });

  it('take no more work than padding, and fewer cells for short texts of mixed length', () => {
    fc.assert(
      fc.property(lengths, (of) => {
        const { bins, length } = cheapestBins(of);
        const cells = (rows: number, width: number) => rows * width * (1 + width / 1024);
        expect(Math.max(...heights(bins, of))).toBe(length);
        expect(cells(bins.length, length)).toBeLessThanOrEqual(cells(of.length, paddedBins(of).length));
      }),
    );
    const mixed = Array.from({ length: 32 }, (_, i) => 5 + ((i * 7) % 23));
    const { bins, length } = cheapestBins(mixed);
    expect(bins.length).toBeGreaterThanOrEqual(6);
    expect(bins.length).toBeLessThan(mixed.length);
    expect(bins.length * length).toBeLessThan(1.03 * mixed.reduce((a, b) => a + b, 0));
  });

  it('leave one sample a row where that is cheapest', () => {
    expect(cheapestBins([40, 40, 40]).bins).toEqual([[0], [1], [2]]);
    expect(cheapestBins([5])).toEqual({ bins: [[0]], length: 5 });
  });
});

const sequences = fc.array(
  fc
    .array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 20 })
    .chain((ids) =>
      fc.record({
        ids: fc.constant(ids),
        reads: fc.uniqueArray(fc.integer({ min: 0, max: ids.length - 1 }), { maxLength: 4 }),
      }),
    )
    .map(({ ids, reads }): Sequence => ({ ids, reads, labels: reads.map((r) => ids[r]! + 100) })),
  { minLength: 1, maxLength: 12 },
);

describe('a packed batch', () => {
  it('has the same samples, reads and labels in any layout', () => {
    fc.assert(
      fc.property(sequences, (given) => {
        const indices = given.map((_, i) => 1000 + i);
        for (const layout of ['bins', 'padded'] as const) {
          const batch = packBatch(given, indices, { layout, padId: 0 });
          const numbers = (name: string) => Array.from(batch.feeds[name]!.data, Number);
          const [ids, mask, positions] = ['input_ids', 'attention_mask', 'position_ids'].map(numbers) as [
            number[],
            number[],
            number[],
          ];
          const [rows, length] = batch.feeds.input_ids!.shape as [number, number];
          const { sample, token } = batch.rows['batch*length']!;
          expect(batch.tokens).toBe(given.reduce((n, s) => n + s.ids.length, 0));
          for (let cell = 0; cell < rows * length; cell++) {
            const from = given[sample[cell]! - 1000];
            expect(ids[cell]).toBe(from ? from.ids[token[cell]!] : 0);
            expect(mask[cell] === 0).toBe(!from);
            expect(positions[cell]).toBe(from ? token[cell] : 0);
          }
          const [read, labels] = [numbers('read'), numbers('labels')];
          const reads = read.length / rows;
          const asked = batch.rows['batch*reads']!;
          for (const [slot, cell] of read.entries()) {
            expect(Math.floor(cell / length)).toBe(Math.floor(slot / reads)); // points into its own row
            const padding = asked.sample[slot] === -1;
            if (!padding) expect([sample[cell], token[cell]]).toEqual([asked.sample[slot], asked.token[slot]]);
            expect(labels[slot]).toBe(padding ? ignored : ids[cell]! + 100);
          }
          expect([...asked.sample].filter((s) => s >= 0).length).toBe(batch.labels);
          expect(batch.labels).toBe(given.reduce((n, s) => n + s.reads.length, 0));
        }
      }),
    );
  });

  it('numbers the sequences of a row, 1 alone for padded ones', () => {
    const two: Sequence[] = [
      { ids: [5, 6], reads: [0] },
      { ids: [7], reads: [0] },
      { ids: [8, 9, 10], reads: [0] },
    ];
    const { feeds } = packBatch(two, [0, 1, 2]);
    expect(feeds.input_ids!.shape).toEqual([2, 3]);
    expect([...feeds.attention_mask!.data].map(Number)).toEqual([1, 1, 1, 1, 1, 2]);
    expect([...feeds.input_ids!.data].map(Number)).toEqual([8, 9, 10, 5, 6, 7]);
    const padded = packBatch(two, [0, 1, 2], { layout: 'padded', padId: 3, labels: false });
    expect([...padded.feeds.attention_mask!.data].map(Number)).toEqual([1, 1, 0, 1, 0, 0, 1, 1, 1]);
    expect([...padded.feeds.input_ids!.data].map(Number)).toEqual([5, 6, 3, 7, 3, 3, 8, 9, 10]);
    expect(padded.feeds.labels).toBeUndefined();
  });
});
