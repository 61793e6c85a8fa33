import { createSchedule, PeftError, type ScheduleConfig } from '@peftjs/core';
import type { CaseFolder, CaseRecord } from '../case.js';
import { createChecks } from '../checks.js';

interface Given {
  readonly kind: string;
  readonly warmup_steps: number;
  readonly total_steps: number;
  readonly num_cycles?: number;
  readonly power?: number;
  readonly lr_end?: number;
}

interface ScheduleRecord extends CaseRecord {
  readonly lr: number;
  readonly schedules: Readonly<Record<string, Given>>;
}

/** transformers' names and options as this library's. */
const translations: Readonly<Record<string, (given: Given, lr: number) => ScheduleConfig>> = {
  constant: () => 'constant',
  constant_with_warmup: () => 'constant',
  linear: () => 'linear',
  cosine: () => 'cosine',
  cosine_with_restarts: ({ num_cycles: cycles = 1 }) => ({ name: 'cosine-with-restarts', cycles }),
  polynomial: ({ power = 1, lr_end = 0 }, lr) => ({ name: 'polynomial', power, endRatio: lr_end / lr }),
};

/** The rate of every update, to 1e-12 of each value. */
export async function run(folder: CaseFolder): Promise<void> {
  const { lr, schedules } = folder.record as ScheduleRecord;
  const checks = createChecks(folder, { relative: 1e-12, absolute: 1e-18 });
  for (const [name, given] of Object.entries(schedules)) {
    const translate = translations[given.kind];
    if (!translate) throw new PeftError('CONFIG_UNSUPPORTED', `No schedule "${given.kind}".`);
    const factor = createSchedule(translate(given, lr), given.total_steps, {
      steps: given.warmup_steps,
      fromZero: true,
    });
    const rates = Float64Array.from({ length: given.total_steps + 1 }, (_, t) => lr * factor(t));
    checks.tensor(name, { dtype: 'f64', shape: [rates.length], data: rates });
  }
  checks.done();
}
