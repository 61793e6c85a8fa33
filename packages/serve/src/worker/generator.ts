import { type Backend, PeftError } from '@peftjs/core';
import { createSampler, type Decoder, type Model, openDecoder, type Sampler } from '@peftjs/models';
import type { Ran, Start, Step } from '../engine/step.js';
import { feeding, slotFeeds, withSlots } from './graph.js';
import type { Layout, WorkerSetup } from './protocol.js';
import type { SlotArrays } from './slot-arrays.js';

/** A sequence in the batch; its number in the list is its row of the cache. */
interface Live {
  readonly id: number;
  readonly slot: number;
  readonly sample: Sampler;
  last: number;
}

/** Sequences read in one run: padding to the longest stays within half of the work. */
function groups(starts: readonly Start[]): Start[][] {
  const sorted = [...starts].sort((a, b) => a.tokens.length - b.tokens.length);
  const made: Start[][] = [];
  for (const start of sorted) {
    const group = made.at(-1);
    if (group && start.tokens.length <= 2 * group[0]!.tokens.length) group.push(start);
    else made.push([start]);
  }
  return made;
}

/** The generating model of the worker: its decoder, the cache and what each row of it continues. */
export async function createGenerator(model: Model, backend: Backend, setup: WorkerSetup, arrays: SlotArrays) {
  let slots: readonly number[] = []; // of the rows of the present run
  const open = (layout: Layout) =>
    openDecoder(model, {
      backend: feeding(backend, () => slotFeeds(arrays, slots)),
      edit: (graph) => void withSlots(graph, layout, setup),
    });
  let decoder: Decoder = await open({ targets: [], heads: [] });
  let cache = decoder.createCache();
  let live: Live[] = [];

  async function run(
    phase: Ran['phase'],
    rows: readonly Live[],
    tokens: readonly (readonly number[])[],
    from: number,
  ): Promise<Ran> {
    slots = rows.map(({ slot }) => slot);
    const logits = await decoder.step(cache, tokens, from);
    const width = logits.shape[1]!;
    for (const [i, row] of rows.entries())
      row.last = row.sample((logits.data as Float32Array).subarray(i * width, (i + 1) * width));
    return { phase, tokens: rows.map(({ id, last }) => ({ id, token: last })) };
  }

  function release(id: number): void {
    const row = live.findIndex((entry) => entry.id === id);
    if (row < 0) return;
    cache.release(row);
    const last = live.pop()!;
    if (row < live.length) live[row] = last;
    if (live.length === 0) cache = decoder.createCache(); // nobody is left: give the memory back
  }

  async function prefill(group: readonly Start[]): Promise<Ran> {
    const from = live.length;
    const rows = group.map(
      ({ id, slot, sampling }): Live => ({ id, slot, sample: createSampler(sampling, 0), last: 0 }),
    );
    for (const row of rows) {
      cache.admit();
      live.push(row);
    }
    return run(
      'prefill',
      rows,
      group.map(({ tokens }) => tokens),
      from,
    );
  }

  async function step({ release: gone, prefill: starts, decode }: Step): Promise<Ran[]> {
    for (const id of gone) release(id);
    const ran: Ran[] = [];
    if (decode.length !== live.length)
      throw new PeftError('INTERNAL', `${decode.length} of ${live.length} running sequences were to go on.`);
    if (live.length > 0)
      ran.push(
        await run(
          'decode',
          live,
          live.map(({ last }) => [last]),
          0,
        ),
      );
    for (const group of groups(starts)) ran.push(await prefill(group));
    return ran;
  }

  return {
    async step(asked: Step): Promise<readonly Ran[]> {
      try {
        return await step(asked);
      } catch (error) {
        live = []; // the cache may be half written
        cache = decoder.createCache();
        throw error;
      }
    },
    async layout(layout: Layout): Promise<void> {
      const before = decoder;
      decoder = await open(layout);
      await before.dispose();
    },
    dispose: () => decoder.dispose(),
  };
}
