import { PeftError } from '../errors.js';

const key = Symbol.for('peftjs.plugin');

/** The version of the contracts that this copy of core speaks. A test holds it equal to the package's version. */
export const coreVersion = '1.0.0';

/** What `define*` writes on a plugin: which contract it follows. Two copies of core in one program are normal. */
export interface Stamp {
  readonly kind: string;
  readonly spec: string;
  readonly version: string;
}

/** Marks `thing` as made for this contract. */
export function stamp<T extends object>(thing: T, kind: string, spec: string): T {
  const value: Stamp = { kind, spec, version: coreVersion };
  return Object.defineProperty(thing, key, { value });
}

export const stampOf = (thing: unknown): Stamp | undefined =>
  (typeof thing === 'object' && thing !== null) || typeof thing === 'function'
    ? (thing as Record<symbol, Stamp | undefined>)[key]
    : undefined;

/** @throws PeftError PLUGIN_INCOMPATIBLE when `thing` was not made by the `define*` function of this contract. */
export function requireStamp(thing: unknown, kind: string, spec: string, subject: string): void {
  const found = stampOf(thing);
  if (found?.kind === kind && found.spec === spec) return;
  const what = found
    ? `is a ${found.kind} of contract ${found.spec}, made for @peftjs/core ${found.version}`
    : 'carries no plugin mark';
  throw new PeftError(
    'PLUGIN_INCOMPATIBLE',
    `${subject} ${what}; needed is a ${kind} of contract ${spec}. Install versions that agree on @peftjs/core.`,
    { details: { found, kind, spec } },
  );
}
