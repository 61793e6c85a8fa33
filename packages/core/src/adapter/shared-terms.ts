import type { Adapter, Term } from '../delta/delta.js';
import { type Kinds, kindOf } from '../delta/registry.js';
import type { Target } from './target.js';

/**
 * An adapter whose updates that change a weight for every module that shares it (a tied head) stand under each of these
 * modules.
 */
export function onAllSharing(adapter: Adapter, targets: readonly Target[], kinds: Kinds): Adapter {
  const shape = new Map(adapter.delta.shape);
  const params = new Map<string, readonly Term[]>(adapter.delta.params);
  for (const { path, parameters } of targets) {
    const own = `${path}.weight`;
    const terms = adapter.delta.params.get(own);
    const shared = terms?.filter((term) => kindOf(term, kinds).shared === true) ?? [];
    if (shared.length === 0) continue;
    // The same list where nothing else is said of either, so that they stay tied.
    const all = shared.length === terms!.length ? terms! : shared;
    for (const other of targets) {
      if (other.path === path || other.parameters.weight !== parameters.weight) continue;
      const name = `${other.path}.weight`;
      const before = params.get(name);
      shape.set(name, adapter.delta.shape.get(own)!);
      params.set(name, before ? [...before, ...all] : all);
    }
  }
  return { ...adapter, delta: { shape, params } };
}
