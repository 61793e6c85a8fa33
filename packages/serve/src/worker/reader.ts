import type { Backend, Program } from '@peftjs/core';
import { optimize } from '@peftjs/core/graph';
import type { Model } from '@peftjs/models';
import { feeding, slotFeeds, withSlots } from './graph.js';
import type { Layout, ReadRow, WorkerSetup } from './protocol.js';
import type { SlotArrays } from './slot-arrays.js';

/** A model that reads each text once and answers with one vector: embeddings, or the logits of a classifier. */
export async function createReader(model: Model, backend: Backend, setup: WorkerSetup, arrays: SlotArrays) {
  let slots: readonly number[] = [];
  const fed = feeding(backend, () => slotFeeds(arrays, slots));

  async function open(layout: Layout): Promise<{ readonly program: Program; readonly output: string }> {
    const slotted = withSlots(model.graph('predict'), layout, setup);
    const [output] = Object.values(slotted.outputs);
    optimize(slotted.graph);
    return {
      program: await fed.compile(slotted.graph, { purpose: 'serve', outputs: [output!.name] }),
      output: output!.name,
    };
  }
  let opened = await open({ targets: [], heads: [] });

  return {
    async read(rows: readonly ReadRow[]): Promise<readonly Float32Array[]> {
      const examples = rows.map(({ example }) => example);
      const { feeds } = model.task.batch(examples, [...rows.keys()], { labels: false });
      slots = rows.map(({ slot }) => slot);
      const { data, shape } = (await opened.program.run(feeds))[opened.output]!;
      const width = shape[1]!;
      return rows.map((_, row) => (data as Float32Array).slice(row * width, (row + 1) * width));
    },
    async layout(layout: Layout): Promise<void> {
      const before = opened;
      opened = await open(layout);
      await before.program.dispose();
    },
    dispose: () => opened.program.dispose(),
  };
}
