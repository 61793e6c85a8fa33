import { type Backend, PeftError } from '@peftjs/core';

export interface BackendOptions {
  readonly backend: string;
  readonly device: string;
  readonly threads?: number | undefined;
}

/**
 * The backend of a command: the package of its name exports a function of its name. `auto` leaves the choice of a
 * device to it, `worker` keeps this thread free while it computes.
 */
export async function openBackend(
  { backend: name, device, threads }: BackendOptions,
  worker = false,
): Promise<Backend> {
  let exported: Record<string, unknown>;
  try {
    exported = (await import(`@peftjs/${name}`)) as Record<string, unknown>;
  } catch (cause) {
    const message = `The backend ${JSON.stringify(name)} is not installed: npm install @peftjs/${name}`;
    throw new PeftError('BACKEND_UNAVAILABLE', message, { cause, details: { backend: name } });
  }
  const make = exported[name];
  if (typeof make !== 'function') {
    throw new PeftError('BACKEND_UNAVAILABLE', `The package @peftjs/${name} is no backend.`, {
      details: { backend: name },
    });
  }
  return make({ device, ...(threads === undefined ? {} : { threads }), ...(worker ? { worker } : {}) }) as Backend;
}
