import type { Backend } from '@peftjs/core';
import type { Tolerance } from '../allclose.js';
import type { Law } from '../law.js';
import { caseLaws } from './cases.js';
import { contractLaws } from './contract.js';
import { stateLaws } from './state.js';

export interface TestBackendOptions {
  /** How far float results may be from the float64 reference. */
  readonly tolerance: Tolerance;
  /** Why the backend cannot run here (a missing device or package): shown, and nothing is run. */
  readonly skip?: string | undefined;
}

/**
 * What every backend must do: each operation and each derivative to the accuracy of the reference, any batch size
 * through one program, carried state, all dtypes it names, errors that name what is wrong, clean disposal.
 */
export function backendLaws(
  makeBackend: () => Backend | Promise<Backend>,
  { tolerance, skip }: TestBackendOptions,
): Law[] {
  let made: Promise<Backend> | undefined;
  const backend = () => (made ??= Promise.resolve(makeBackend()));
  const disposal: Law = {
    name: 'disposes',
    check: async () => (await backend()).dispose(),
  };
  const laws = [...caseLaws(backend, tolerance), ...stateLaws(backend), ...contractLaws(backend), disposal];
  return skip ? laws.map((law) => ({ ...law, skip })) : laws;
}
