import { type Adapter, scale, sum } from '@peftjs/core';
import { type ReadingOptions, readAnyAdapter } from './any-adapter.js';
import type { Plugins } from './plugins.js';
import { UsageError } from './usage.js';

/** `DIR` or `DIR:WEIGHT`; a Windows drive is no weight. */
export function weighted(text: string): { readonly path: string; readonly weight: number } {
  const found = /^(.+):([-+]?[\d.]+(?:e[-+]?\d+)?)$/i.exec(text);
  const weight = found ? Number(found[2]) : 1;
  if (!Number.isFinite(weight)) throw new UsageError([`${text}: ${found?.[2]} is not a number`]);
  return { path: found?.[1] ?? text, weight };
}

type Options = ReadingOptions & { readonly plugins: Pick<Plugins, 'kinds'> };

/** The adapters of a command, each times its weight. */
export async function readEach(given: readonly string[], options: Options): Promise<Adapter[]> {
  const parts: Adapter[] = [];
  for (const text of given) {
    const { path, weight } = weighted(text);
    parts.push(scale(await readAnyAdapter(path, options), weight, options.plugins.kinds));
  }
  return parts;
}

/** Their sum; undefined when none is given. */
export async function readAdapters(given: readonly string[], options: Options): Promise<Adapter | undefined> {
  const parts = await readEach(given, options);
  if (parts.length === 0) return undefined;
  const joined = sum(...parts, { kinds: options.plugins.kinds });
  const { task } = parts.find((part) => part.task) ?? {};
  return task && !joined.task ? { ...joined, task } : joined;
}
