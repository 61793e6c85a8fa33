import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Measured, median } from './measure.js';

/** A figure of ours and of the peer, and the one over the other. */
export interface Figure {
  readonly ours: number | undefined;
  readonly peer: number | undefined;
  readonly ratio: number | undefined;
}

function middle(runs: readonly Measured[], pick: (m: Measured) => number | undefined): number | undefined {
  const values = runs.map(pick).filter((value): value is number => value !== undefined);
  return values.length > 0 ? median(values) : undefined;
}

function figure(
  ours: readonly Measured[],
  peer: readonly Measured[],
  pick: (m: Measured) => number | undefined,
): Figure {
  const [a, b] = [middle(ours, pick), middle(peer, pick)];
  return { ours: a, peer: b, ratio: a !== undefined && b !== undefined ? Number((a / b).toFixed(3)) : undefined };
}

/** Medians of interleaved runs side by side; `seconds` is the time that counts, the whole process by default. */
export const beside = (
  ours: readonly Measured[],
  peer: readonly Measured[],
  seconds: (m: Measured) => number = (m) => m.seconds,
) => ({
  seconds: figure(ours, peer, seconds),
  anonymousBytes: figure(ours, peer, (m) => m.anonymous),
  pssBytes: figure(ours, peer, (m) => m.pss),
});

const folder = fileURLToPath(new URL('results', import.meta.url));
const fileOf = (benchmark: string): string => `${folder}/${benchmark}.json`;

/** The reports that a benchmark kept, the newest last. */
export function kept<T>(benchmark: string): T[] {
  const file = fileOf(benchmark);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T[]) : [];
}

/** Adds a report to `results/NAME.json`, which keeps the last ten, and prints it as the last line. */
export function keep(benchmark: string, facts: Readonly<Record<string, unknown>>): void {
  const date = new Date().toISOString().slice(0, 10);
  const report = { benchmark, date, cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, ...facts };
  mkdirSync(folder, { recursive: true });
  writeFileSync(fileOf(benchmark), `${JSON.stringify([...kept(benchmark).slice(-9), report], null, 2)}\n`);
  console.log(JSON.stringify(report));
}
