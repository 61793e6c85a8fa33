import { f32, stampOf } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import plugin, { defineMerge, mergeTensors } from '../src/index.js';

describe('plugin', () => {
  it('brings every method under a name of its own, marked for the contract', () => {
    const merges = plugin.merges as readonly { merge: { name: string } }[];
    const names = merges.map(({ merge }) => merge.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('ties');
    for (const merge of merges) expect(stampOf(merge)).toMatchObject({ kind: 'merge', spec: 'v1' });
    expect(stampOf(plugin)).toMatchObject({ kind: 'plugin', spec: 'v1' });
  });

  it('takes a method from outside', () => {
    const largest = defineMerge({
      spec: 'v1',
      name: 'largest',
      config: z.strictObject({}),
      base: 'none',
      stats: [
        ({ weights }) =>
          Object.fromEntries(weights.map((_, i) => [`sum.${i}`, { kind: 'sum', of: ({ models }) => models[i]! }])),
      ],
      combine: ({ models, stats: { numbers } }) =>
        models.reduce((best, model, i) =>
          numbers[`sum.${i}`]! > numbers[`sum.${models.indexOf(best)}`]! ? model : best,
        ),
    });
    const models = [1, 3, 2].map((x) => new Map([['w', f32([2], [x, x])]]));
    expect([...mergeTensors(largest, { models, chunk: 1 }).get('w')!.data]).toEqual([3, 3]);
  });

  it('refuses a method that says how to merge twice, or not at all', () => {
    const both = { combine: () => new Float32Array(0), whole: () => new Map() };
    for (const ways of [both, {}])
      expect(() => defineMerge({ spec: 'v1', name: 'odd', config: z.object({}), base: 'none', ...ways })).toThrow(
        expect.objectContaining({ code: 'PLUGIN_INCOMPATIBLE' }),
      );
  });
});
