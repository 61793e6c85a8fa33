import { methodScalar } from '../adapter/attach-method.js';
import type { Plan } from '../adapter/bind.js';
import { ownConfig } from '../adapter/config.js';
import type { Clock } from '../adapter/dynamics.js';
import type { Tensors } from '../adapter/start.js';
import type { Feeds } from '../backend/backend.js';
import { createRandom } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { scalarTensor } from './groups.js';
import { activeName } from './update.js';

/** What a method feeds to a graph beside the trained tensors: its scalars and its held tensors. */
export function methodInputs({ method, config }: Plan, held: Tensors, clock: Clock): Feeds {
  const numbers = method.scalars?.(clock, ownConfig(config)) ?? {};
  const scalars = Object.entries(numbers).map(([name, number]) => [methodScalar(name), scalarTensor(number)] as const);
  return Object.fromEntries([...held, ...scalars]);
}

/** Which targets an update changes, as inputs of the update; empty for a method that always changes all. */
export function activeInputs({ method, sites }: Plan, held: Tensors, clock: Clock, seed: number): Feeds {
  if (!method.active) return {};
  const rng = createRandom(seed).fork('active', clock.step);
  const active = method.active({ clock, sites, held, rng });
  return Object.fromEntries(sites.map(({ target }) => [activeName(target.path), flag(active.has(target.path))]));
}

const flag = (on: boolean): Tensor => ({ dtype: 'bool', shape: [], data: Uint8Array.of(on ? 1 : 0) });
