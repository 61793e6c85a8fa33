import type * as z from 'zod';
import type { Bound } from '../adapter/define-method.js';
import type { Method } from '../adapter/method.js';
import type { AnyCodec } from '../delta/codec.js';
import type { Kind } from '../delta/delta.js';
import { stamp } from '../delta/stamp.js';
import type { Layout } from './layout.js';

/** A training method whatever its options: `resolveConfig` checks those that come from outside. */
export interface AnyMethod {
  (options?: never): Bound;
  readonly method: Method;
}

/** A way to train any method: `wrap(lora({ r: 8 }), { trained: 0.25 })` is a method again, saved as the wrapped one. */
export interface Wrapper {
  readonly name: string;
  readonly paper: string;
  /** Its own options. */
  readonly config: z.ZodType;
  /** @throws PeftError CONFIG_INVALID for wrong options, CONFIG_UNSUPPORTED for a method that it cannot wrap */
  wrap(bound: Bound, options?: Readonly<Record<string, unknown>>): Bound;
}

/** What a package brings: its default export. Lists that core does not read itself belong to other packages. */
export interface Plugin {
  readonly spec: 'v1';
  readonly name: string;
  readonly methods?: readonly AnyMethod[];
  readonly wrappers?: readonly Wrapper[];
  readonly kinds?: readonly Kind[];
  readonly layouts?: readonly Layout[];
  readonly merges?: readonly object[];
  readonly codecs?: readonly AnyCodec[];
  readonly optimizers?: readonly object[];
  readonly backends?: readonly object[];
  readonly architectures?: readonly object[];
  readonly tasks?: readonly object[];
}

export const definePlugin = (plugin: Plugin): Plugin => stamp({ ...plugin }, 'plugin', plugin.spec);
