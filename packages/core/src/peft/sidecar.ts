import * as z from 'zod';
import type { Adapter } from '../delta/delta.js';
import { coreVersion } from '../delta/stamp.js';

/** `peftjs.json`: what PEFT's two files cannot say. PEFT ignores it, and an adapter without it is complete. */
const schema = z.object({
  spec: z.literal('v1'),
  version: z.string(),
  digest: z.string(),
  method: z.object({ name: z.string(), config: z.record(z.string(), z.unknown()) }).optional(),
  task: z.object({ name: z.string(), labels: z.array(z.string()).optional() }).optional(),
  base: z.object({ name: z.string().optional(), digest: z.string().optional() }).optional(),
  on: z.array(z.string()).optional(),
  /** Shapes of parameters that the files beside do not say. */
  shapes: z.array(z.tuple([z.string(), z.array(z.number().int().nonnegative()).max(8)])).optional(),
});

/** @param digest that of the adapter as it is read from the files beside */
export const sidecarOf = (
  { method, task, base, on }: Adapter,
  digest: string,
  shapes: ReadonlyMap<string, readonly number[]> | undefined,
): Record<string, unknown> => ({
  spec: 'v1',
  version: coreVersion,
  digest,
  ...(method && { method }),
  ...(task && { task }),
  ...(base && { base }),
  ...(on && { on }),
  ...(shapes && { shapes: [...shapes].sort(([a], [b]) => (a < b ? -1 : 1)) }),
});

/** More elements than any parameter has: a product beyond it is an attempt to exhaust memory. */
const mostElements = 2 ** 40;

/** The shapes in a sidecar that is understood. */
export function shapesIn(value: unknown): ReadonlyMap<string, readonly number[]> | undefined {
  const { data } = schema.pick({ shapes: true }).safeParse(value);
  const sound = data?.shapes?.every(([, shape]) => shape.reduce((size, extent) => size * extent, 1) <= mostElements);
  return sound ? new Map(data!.shapes) : undefined;
}

/** What a sidecar adds to the adapter it was written with; a reason when it does not belong to it. */
export function readSidecar(value: unknown, digest: string): Pick<Adapter, 'method' | 'task' | 'base' | 'on'> | string {
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    return `it is not understood (${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')})`;
  if (parsed.data.digest !== digest) return 'the adapter beside it has been changed since';
  const { method, task, base, on } = parsed.data;
  return {
    ...(method && { method }),
    ...(on && { on }),
    ...(task && { task: { name: task.name, ...(task.labels && { labels: task.labels }) } }),
    ...(base && {
      base: {
        ...(base.name !== undefined && { name: base.name }),
        ...(base.digest !== undefined && { digest: base.digest }),
      },
    }),
  };
}
