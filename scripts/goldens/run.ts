import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Backend, isPeftError, PeftError } from '@peftjs/core';
import type { Listed, Part } from './case.js';
import { modulesIn } from './modules.js';

export type Status = 'passed' | 'failed' | 'unsupported';

export interface CaseEvent {
  readonly event: 'case';
  readonly part: string;
  readonly kind: string;
  readonly name: string;
  readonly status: Status;
  /** Why it failed, or why it is unsupported. */
  readonly message?: string;
  readonly seconds: number;
}

export type Tally = Record<Status, number>;

export interface ResultEvent extends Tally {
  readonly event: 'result';
  /** By kind. */
  readonly kinds: Record<string, Tally>;
}

export interface GoldensOptions {
  readonly folder: string;
  readonly backend: Backend;
  /** Which parts; all of them when empty. */
  readonly parts?: readonly string[];
  /** Only cases whose name has this text. */
  readonly name?: string | undefined;
}

/** What a reader calls unsupported is not wrong: the case asks for something that this version does not do. */
const unsupportedCodes: readonly string[] = ['CONFIG_UNSUPPORTED', 'MODEL_UNSUPPORTED'];

async function outcome({ kind, run }: Listed, backend: Backend): Promise<{ status: Status; message?: string }> {
  if (!run) return { status: 'unsupported', message: `the kind "${kind}" is not known` };
  try {
    await run({ backend });
    return { status: 'passed' };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { status: isPeftError(error) && unsupportedCodes.includes(error.code) ? 'unsupported' : 'failed', message };
  }
}

const emptyTally = (): Tally => ({ passed: 0, failed: 0, unsupported: 0 });

/**
 * Runs every case that the indexes of the folder list, by kind: an event for each, and at the end the sums.
 * @throws PeftError CONFIG_INVALID for an unknown part
 */
export async function* runGoldens(options: GoldensOptions): AsyncGenerator<CaseEvent | ResultEvent> {
  const { folder, backend, parts = [], name = '' } = options;
  const known = await modulesIn<Part>(new URL('./parts/', import.meta.url));
  const unknown = parts.filter((part) => !known.has(part));
  if (unknown.length > 0) {
    throw new PeftError(
      'CONFIG_INVALID',
      `No part ${unknown.join(', ')}: choose from ${[...known.keys()].join(', ')}.`,
    );
  }
  const sum = emptyTally();
  const kinds: Record<string, Tally> = {};
  for (const [part, { cases }] of known) {
    if (parts.length > 0 && !parts.includes(part)) continue;
    if (!existsSync(join(folder, part))) continue;
    for await (const listed of cases(folder, { backend })) {
      if (!listed.name.includes(name)) continue;
      const start = performance.now();
      const { status, message } = await outcome(listed, backend);
      sum[status]++;
      kinds[listed.kind] ??= emptyTally();
      kinds[listed.kind]![status]++;
      const seconds = (performance.now() - start) / 1000;
      yield { event: 'case', part, kind: listed.kind, name: listed.name, status, ...(message && { message }), seconds };
    }
  }
  yield { event: 'result', ...sum, kinds };
}
