import * as z from 'zod';

const modules = z.union([z.string().min(1), z.array(z.string().min(1))]);

/** What (IA)³ lets you choose. Target modules and saved modules come with every method. */
export const Ia3Config = z.strictObject({
  feedforwardModules: modules.optional().meta({
    description:
      "Targets whose inputs are scaled, by ends of their paths or one regular expression; the outputs of all others are. Default: the paper's places, found by role: outputs of keys and values, inputs of the last layer of feed-forwards; other targets are left out.",
  }),
  fanInFanOut: z
    .boolean()
    .optional()
    .meta({ description: 'A hint of PEFT files; how a weight lies is decided by the layer itself.' }),
});

export type Ia3Settings = z.output<typeof Ia3Config>;
export type Ia3Options = z.input<typeof Ia3Config>;
