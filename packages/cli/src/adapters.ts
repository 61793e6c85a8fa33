import { type Adapter, readAdapter, scale, sum } from '@peftjs/core';
import type { Plugins } from './plugins.js';
import { openModel, taskOf } from './tasks.js';
import { UsageError } from './usage.js';

/** `DIR` or `DIR:WEIGHT`; a Windows drive is no weight. */
export function weighted(text: string): { readonly path: string; readonly weight: number } {
  const found = /^(.+):([-+]?[\d.]+(?:e[-+]?\d+)?)$/i.exec(text);
  const weight = found ? Number(found[2]) : 1;
  if (!Number.isFinite(weight)) throw new UsageError([`${text}: ${found?.[2]} is not a number`]);
  return { path: found?.[1] ?? text, weight };
}

/** The shapes of a model's parameters, for adapters whose files do not say them; none without a model. */
export const shapesOf = (directory: string | undefined) =>
  directory === undefined
    ? {}
    : {
        shapes: async () => {
          const { parameters } = await openModel(directory, await taskOf(directory));
          return new Map([...parameters].map(([path, { shape }]) => [path, shape]));
        },
      };

/**
 * The adapters of a command as one, each times its weight; undefined when none is given.
 * @param model the directory of the model that they belong to
 */
export async function readAdapters(
  given: readonly string[],
  { layouts, kinds }: Pick<Plugins, 'layouts' | 'kinds'>,
  warn: (message: string) => void,
  model: string | undefined,
): Promise<Adapter | undefined> {
  const parts: Adapter[] = [];
  for (const text of given) {
    const { path, weight } = weighted(text);
    parts.push(scale(await readAdapter(path, { layouts, kinds, warn, ...shapesOf(model) }), weight, kinds));
  }
  if (parts.length === 0) return undefined;
  const joined = sum(...parts);
  const { task } = parts.find((part) => part.task) ?? {};
  return task && !joined.task ? { ...joined, task } : joined;
}
