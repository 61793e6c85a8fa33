import { f32, type Tensor, tensorRef } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { measureInterference, reportPage } from '../src/index.js';

const refs = (tensors: Record<string, Tensor>) =>
  new Map(Object.entries(tensors).map(([name, tensor]) => [name, tensorRef(tensor)]));

const base = refs({ w: f32([2, 2], [1, 1, 1, 1]), '<v>': f32([2], [0, 0]) });
const a = refs({ w: f32([2, 2], [2, 1, 1, 3]), '<v>': f32([2], [3, 4]) });
const b = refs({ w: f32([2, 2], [0, 1, 2, 3]), '<v>': f32([2], [0, 0]) });
const inputs = [
  { input: a, name: 'a' },
  { input: b, name: 'b' },
];

describe('interference', () => {
  it('norms, densities, cosines and conflicts of each tensor and of all', async () => {
    const report = await measureInterference(inputs, { base }).result();
    expect(report.models).toEqual(['a', 'b']);
    const w = report.tensors.find(({ tensor }) => tensor === 'w')!;
    // τ of a: 1 0 0 2, of b: -1 0 1 2
    expect(w.norms).toEqual([Math.sqrt(5), Math.sqrt(6)]);
    expect(w.densities).toEqual([0.5, 0.75]);
    expect(w.cosines[0]![1]).toBeCloseTo(3 / Math.sqrt(30), 12);
    expect(w).toMatchObject({ count: 4, shared: 0.5, conflicts: 0.5 });
    const v = report.tensors.find(({ tensor }) => tensor === '<v>')!;
    expect(v).toMatchObject({
      norms: [5, 0],
      cosines: [
        [1, null],
        [null, null],
      ],
      conflicts: 0,
    });
    expect(report.total).toMatchObject({ count: 6, norms: [Math.sqrt(30), Math.sqrt(6)] });
  });

  it('is the same in threads', async () => {
    const here = await measureInterference(inputs, { base, threads: 0 }).result();
    expect(await measureInterference(inputs, { base, threads: 2 }).result()).toEqual(here);
  });

  it('a page that needs nothing beside it and escapes names', async () => {
    const page = reportPage(await measureInterference(inputs, { base }).result());
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).toContain('<svg');
    expect(page).toContain('&#60;v&#62;');
    expect(page).not.toMatch(/<v>|<script|https?:|src=/);
  });
});
