import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { goldensPath } from '../../testkit/src/shared.js';
import { createSchedule, openSafetensors, type ScheduleConfig, warmupSteps } from '../src/index.js';

const folder = goldensPath('methods', 'cases', 'schedules');

describe('schedules', () => {
  it.skipIf(!folder)('give the rates of transformers (without the reference data, set PEFTJS_SHARED)', async () => {
    const { lr, schedules } = JSON.parse(readFileSync(join(folder!, 'case.json'), 'utf8'));
    const { tensors } = await openSafetensors(join(folder!, 'expected.safetensors'));
    const config = (s: Record<string, number | string>): ScheduleConfig => {
      if (s.kind === 'polynomial')
        return { name: 'polynomial', power: Number(s.power), endRatio: Number(s.lr_end) / lr };
      if (s.kind === 'cosine_with_restarts') return { name: 'cosine-with-restarts', cycles: Number(s.num_cycles) };
      return String(s.kind).replace('_with_warmup', '') as ScheduleConfig;
    };
    expect(Object.keys(schedules)).toHaveLength(10);
    for (const [name, s] of Object.entries<Record<string, number | string>>(schedules)) {
      const warmup = { steps: Number(s.warmup_steps), fromZero: true };
      const schedule = createSchedule(config(s), Number(s.total_steps), warmup);
      const { data } = await tensors.get(name)!.read();
      for (const [t, rate] of (data as Float64Array).entries())
        expect(Math.abs(schedule(t) * lr - rate), `${name}, update ${t}`).toBeLessThanOrEqual(1e-12 * lr);
    }
  });

  it('warms up from 1/w: no update has rate zero, and the full rate is reached', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, ratio) => {
        const w = warmupSteps(n, { warmupRatio: ratio });
        const schedule = createSchedule('linear', n, { steps: w });
        for (let t = 0; t < n; t++) {
          const recipe = Math.min(w > 0 ? (t + 1) / w : 1, n > w ? (n - t) / (n - w) : 1);
          expect(schedule(t)).toBeCloseTo(recipe, 12);
          expect(schedule(t)).toBeGreaterThan(0);
        }
        expect(schedule(Math.max(0, w - 1))).toBe(1);
      }),
    );
  });

  it('counts warm-up steps by ratio or number', () => {
    expect(warmupSteps(462, { warmupRatio: 0.06 })).toBe(28);
    expect(warmupSteps(462, { warmupSteps: 5 })).toBe(5);
    expect(warmupSteps(462, {})).toBe(0);
  });
});
