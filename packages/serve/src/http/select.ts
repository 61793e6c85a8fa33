import { PeftError } from '@peftjs/core';
import type { AdapterInfo, Engine } from '../engine/types.js';

/**
 * Which adapter a request's `model` names: the base's name (none), an adapter's name, or `base:adapter`.
 * @throws PeftError ADAPTER_UNKNOWN: a name that is not served is never answered by the base
 */
export function selectAdapter(engine: Engine, model: string): AdapterInfo | undefined {
  if (model === engine.name) return undefined;
  const prefix = `${engine.name}:`;
  const name = model.startsWith(prefix) ? model.slice(prefix.length) : model;
  const found = engine.adapters.list().find((adapter) => adapter.name === name && adapter.state !== 'draining');
  if (found) return found;
  const message = `The model ${JSON.stringify(model)} is not served here. GET /v1/models lists those that are.`;
  throw new PeftError('ADAPTER_UNKNOWN', message, { details: { model } });
}
