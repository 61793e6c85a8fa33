import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Reference data is too large for the repository: it lies in a folder of its own, and tests without it are skipped. */
const root = (): string =>
  process.env.PEFTJS_SHARED ?? resolve(fileURLToPath(new URL('../../..', import.meta.url)), '..', 'shared');

const existing = (path: string): string | undefined => (existsSync(path) ? path : undefined);

/**
 * A path in the folder of shared reference data (models, data sets, goldens): that of the environment variable
 * PEFTJS_SHARED, else `shared` beside the repository. Undefined when there is no such file or folder.
 */
export const sharedPath = (...parts: readonly string[]): string | undefined => existing(join(root(), ...parts));

/** A path in the goldens: the folder of PEFTJS_GOLDENS, else `goldens` of the shared folder. Undefined when missing. */
export const goldensPath = (...parts: readonly string[]): string | undefined =>
  existing(join(process.env.PEFTJS_GOLDENS ?? join(root(), 'goldens'), ...parts));
