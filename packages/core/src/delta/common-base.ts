import { PeftError } from '../errors.js';
import type { Adapter } from './delta.js';

/**
 * The base that adapters share: its digest, where one says it, and its name, where all agree.
 * @throws PeftError ADAPTER_MISMATCH naming the digests, when they say that they were made for different bases
 */
export function commonBase(adapters: readonly Pick<Adapter, 'base'>[]): Adapter['base'] {
  const digests = [...new Set(adapters.flatMap(({ base }) => base?.digest ?? []))];
  if (digests.length > 1) {
    const message = `These adapters were made for different bases: ${digests.join(', ')}. Take adapters of one base, or leave the digests out (base.digest, in peftjs.json beside their files) where it is the same one after all.`;
    throw new PeftError('ADAPTER_MISMATCH', message, { details: { bases: digests } });
  }
  const [digest] = digests;
  const [name, ...others] = new Set(adapters.map(({ base }) => base?.name));
  const base = { ...(name !== undefined && others.length === 0 && { name }), ...(digest !== undefined && { digest }) };
  return Object.keys(base).length > 0 ? base : undefined;
}
