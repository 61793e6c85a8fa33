import { ownConfig } from '../adapter/config.js';
import type { NamedTensors } from '../adapter/dynamics.js';
import { sharedPath } from '../adapter/names.js';
import { lettersOf, named, type Start } from '../adapter/start.js';
import { tokenRowsName } from '../adapter/token-rows.js';
import { PeftError } from '../errors.js';
import { toF32 } from '../tensor/convert.js';
import { createRandom } from '../tensor/random.js';
import type { Example, TaskModel } from './model.js';
import type { Prepared } from './prepare.js';

export interface PhaseSoFar {
  /** Number of the phase that begins. */
  readonly phase: number;
  readonly start: Start;
  /** Trained tensors as the phase leaves them. */
  readonly train: NamedTensors;
  readonly held: NamedTensors;
  readonly kept: NamedTensors;
  readonly state: NamedTensors;
  readonly seed: number;
}

/** Asks the method where its next phase begins. */
export async function nextStart<E extends Example>(
  { plan, start: first }: Prepared<E>,
  { parameters }: TaskModel<E>,
  { phase, start, train, held, kept, state, seed }: PhaseSoFar,
): Promise<Start & { readonly kept: NamedTensors; readonly state: NamedTensors }> {
  const all = [...start.frozen, ...held, ...train];
  const sites = plan.sites.map(({ target, c }) => ({ target, c, p: lettersOf(target.path, all) }));
  const full = [...plan.tokens.map(tokenRowsName), ...plan.replaced].filter((name) => train.has(name));
  const ofFull = (tensors: NamedTensors) => new Map(full.map((name) => [name, tensors.get(name)!]));
  const replaced = ofFull(train);
  const next = await plan.method.next!({
    phase,
    sites: sites.filter(({ p }) => Object.keys(p).length > 0),
    targets: plan.sites,
    replaced,
    begun: ofFull(first.train),
    kept,
    state,
    rng: createRandom(seed).fork('phase', phase),
    c: ownConfig(plan.config),
    async weight(path) {
      const ref = parameters.get(path);
      if (!ref) throw new PeftError('INTERNAL', `The base has no parameter "${path}".`);
      return toF32(await ref.read());
    },
  });
  const made = named(next.shared ? [...next.sites, [sharedPath, next.shared]] : next.sites);
  return {
    frozen: made.frozen,
    held: made.held,
    train: new Map([...made.train, ...replaced, ...(next.replaced ?? [])]),
    kept: next.kept ?? new Map(),
    state: next.state ?? new Map(),
  };
}
