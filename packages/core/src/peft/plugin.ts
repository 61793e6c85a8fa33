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

/** What a package brings: its default export. Lists that core does not read itself belong to other packages. */
export interface Plugin {
  readonly spec: 'v1';
  readonly name: string;
  readonly methods?: readonly AnyMethod[];
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
