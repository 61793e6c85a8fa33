import { existsSync, readFileSync } from 'node:fs';
import type { Table } from './table.js';

const results = new URL('../../benchmarks/results/backends.json', import.meta.url);

interface Report {
  readonly results: readonly { readonly backend: string; readonly milliseconds: number; readonly ratio: number }[];
}

/** Backend × time of a step, from the newest `peft bench backends` that was kept. */
export function timeTable(): Table | undefined {
  if (!existsSync(results)) return undefined;
  const { results: rows } = (JSON.parse(readFileSync(results, 'utf8')) as Report[]).at(-1)!;
  const cells = rows.map(({ backend, milliseconds, ratio }) => [backend, milliseconds.toFixed(0), ratio.toFixed(1)]);
  return [['backend', 'milliseconds', `of ${rows[0]!.backend}`], ...cells];
}
