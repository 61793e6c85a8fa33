import {
  type Adapter,
  attachDelta,
  type Feeds,
  type Kinds,
  type ModelGraph,
  PeftError,
  Problems,
  requireBase,
} from '@peftjs/core';
import { f32 } from '@peftjs/core/tensor';
import type { Model } from './load.js';

/** An adapter whose weight can be another one at every run. */
export interface WeightedAdapter {
  readonly adapter: Adapter;
  /** What `weights` calls it. */
  readonly name: string;
  /** Where a run gives none. Default 1. */
  readonly weight?: number;
}

/** Weights of a run by the adapters' names. */
export type AdapterWeights = Readonly<Record<string, number>>;

export interface AdapterOptions {
  /** Adapters that act together; their updates add. */
  readonly adapters?: readonly (Adapter | WeightedAdapter)[];
  /** Kinds of their updates, where they are not all built in. */
  readonly kinds?: Kinds;
}

/** What puts adapters into a model's graphs, and weights them in its runs. */
interface Attaching {
  /** Changes the graph; use the returned one. */
  attach(graph: ModelGraph): Promise<ModelGraph>;
  /** Feeds of a run. @throws PeftError CONFIG_INVALID for names that no adapter has, and weights that are no numbers */
  feeds(weights?: AdapterWeights): Feeds;
}

const isWeighted = (given: Adapter | WeightedAdapter): given is WeightedAdapter => 'adapter' in given;

/** @throws PeftError ADAPTER_MISMATCH for adapters of another base, CONFIG_INVALID for two of one name */
export async function attaching(model: Model, { adapters = [], kinds }: AdapterOptions): Promise<Attaching> {
  const { parameters } = model;
  const weighted = adapters.filter(isWeighted);
  const defaults = new Map(weighted.map(({ name, weight = 1 }) => [name, weight]));
  if (defaults.size < weighted.length)
    throw new PeftError(
      'CONFIG_INVALID',
      `Adapters that are weighted need a name each: ${weighted.map(({ name }) => `"${name}"`).join(', ')}.`,
    );
  await requireBase(
    model,
    adapters.map((given) => (isWeighted(given) ? given.adapter : given)),
  );
  const feeds = (weights: AdapterWeights = {}): Feeds => {
    const problems = new Problems();
    const all = new Map([...defaults, ...Object.entries(weights)]);
    for (const [name, weight] of all) {
      if (!defaults.has(name))
        problems.add(`"${name}" is no adapter with a weight (there are: ${[...defaults.keys()].join(', ')}).`);
      else if (!Number.isFinite(weight)) problems.add(`that of "${name}" is ${weight}.`);
    }
    problems.throwIfAny('CONFIG_INVALID', 'The weights of adapters');
    return Object.fromEntries([...all].map(([name, weight]) => [`${name}:weight`, f32([], [weight])]));
  };
  feeds(); // a default that is no number is refused here
  return {
    feeds,
    async attach(graph) {
      let attached = graph;
      for (const given of adapters) {
        const [adapter, at] = isWeighted(given)
          ? [given.adapter, { name: given.name, weight: 'input' as const }]
          : [given, {}];
        attached = await attachDelta(attached, adapter, { parameters, ...(kinds && { kinds }), ...at });
      }
      return attached;
    },
  };
}
