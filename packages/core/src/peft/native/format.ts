import * as z from 'zod';

/** More than any adapter has: a file beyond it is an attempt to exhaust memory. */
const mostParameters = 2 ** 17;
const mostElements = 2 ** 40;

const path = z.string().min(1).max(1024);
const name = z.string().regex(/^[A-Za-z][\w-]{0,63}$/);
const shape = z
  .array(
    z
      .number()
      .int()
      .nonnegative()
      .max(2 ** 32),
  )
  .max(8)
  .refine(
    (extents) => extents.reduce((size, extent) => size * extent, 1) <= mostElements,
    'is larger than any parameter',
  );

const term = z.strictObject({
  kind: name,
  meta: z
    .record(name, z.union([z.number(), z.string().max(256), z.boolean()]))
    .refine((meta) => Object.keys(meta).length <= 32, 'has more than 32 entries'),
  tensors: z.array(name).max(32),
});

/** The configuration of a PEFTJS folder: the terms of every parameter in the order in which they act. */
export const nativeSchema = z.strictObject({
  peft_type: z.literal('PEFTJS'),
  spec: z.literal('v1'),
  base_model_name_or_path: z.string().nullish(),
  task_type: z.string().nullish(),
  parameters: z.array(z.strictObject({ path, shape, terms: z.array(term).min(1).max(64) })).max(mostParameters),
  replaced: z.array(path).max(mostParameters),
});

export type NativeFile = z.output<typeof nativeSchema>;

/** Names of tensors: the last two parts have no slash, so no two are the same. */
export const termKey = (path: string, index: number, name: string): string => `terms/${path}/${index}/${name}`;
export const replacedKey = (path: string): string => `replaced/${path}`;
