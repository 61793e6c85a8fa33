import {
  type Adapter,
  attachDelta,
  bindMethod,
  compileGraph,
  f32,
  readAdapter,
  resumeTensors,
  stack,
  type Tensor,
  train,
  type WriteAdapterOptions,
  withKinds,
  withLayouts,
  writeAdapter,
} from '@peftjs/core';
import { expectClose } from '../allclose.js';
import { assert, expectPeftError } from '../law.js';
import { tinyFeeds, tinyRows } from '../tiny-task.js';
import { inFolder, sameTensors } from './files.js';
import { type Scene, settled } from './scene.js';
import { losses, trainOptions } from './training.js';

/** Calls `use` with what comes back from the files of an adapter, in the method's own layout where no other is given. */
const throughFiles = <T>(
  { method, model, options }: Scene,
  adapter: Adapter,
  use: (read: Adapter) => Promise<T>,
  where: Pick<WriteAdapterOptions, 'layout'> = { layout: method.layout },
) =>
  inFolder(async (folder) => {
    const layouts = withLayouts(...(options.layouts ?? []));
    const kinds = withKinds(...(options.kinds ?? []));
    await writeAdapter(folder, adapter, { ...where, layouts, kinds });
    const base = { parameters: model.parameters, targets: model.targets };
    return use(await readAdapter(folder, { layouts, kinds, base }));
  });

/** The loss of all rows with an adapter beside the base. */
async function lossWith({ model, options, backend }: Scene, adapter: Adapter): Promise<number> {
  const kinds = withKinds(...(options.kinds ?? []));
  const { graph } = await attachDelta(model.graph('train'), adapter, { parameters: model.parameters, kinds });
  const program = await compileGraph(await backend(), graph, {});
  try {
    return Number((await program.run(tinyFeeds())).loss!.data[0]);
  } finally {
    await program.dispose();
  }
}

const number = (x: number): Tensor => f32([], [x]);

/** What a run that goes on from an adapter says of its start: how many numbers it trains, and the loss of all rows. */
async function begun(scene: Scene, start: Adapter) {
  let trainable = 0;
  const run = train(scene.model, await trainOptions(scene, { batchSize: tinyRows().length, start }));
  for await (const event of run) {
    if (event.type === 'start') trainable = event.trainable;
    if (event.type === 'step') return { trainable, loss: event.loss };
  }
  return { trainable, loss: Number.NaN };
}

export const resumingLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'goes on from its file with the loss that the run ended with, or says what to do instead'(scene) {
    const { method, model, plan, options, tolerance } = scene;
    const trained = await train(model, await trainOptions(scene)).result();
    await throughFiles(scene, trained, async (start) => {
      const whole = await trainOptions(scene, { batchSize: tinyRows().length });
      const goesOn = method.fromDelta !== undefined;
      if (!goesOn)
        await expectPeftError(() => train(model, { ...whole, start }).result(), ['CONFIG_UNSUPPORTED'], ['stack(']);
      const onTop = () => train(stack(model, [start], { kinds: withKinds(...(options.kinds ?? [])) }), whole);
      const [first] = await losses(goesOn ? train(model, { ...whole, start }) : onTop());
      // What a step reports without gradients, or with dropout, is not the loss itself.
      if (method.forward || plan.config.dropout > 0) return;
      expectClose('the first loss', number(first!), number(await lossWith(scene, start)), tolerance);
    });
  },

  async 'goes on from files in the layout that is chosen for them as from memory'(scene) {
    const { method, plan, tolerance } = scene;
    if (!method.fromDelta) return;
    const trained = await train(scene.model, await trainOptions(scene)).result();
    const kept = await begun(scene, trained);
    const read = await throughFiles(scene, trained, (adapter) => begun(scene, adapter), {});
    assert(read.trainable === kept.trainable, `it trains ${read.trainable} numbers, ${kept.trainable} from memory`);
    // What a step reports without gradients, or with dropout, is not the loss itself.
    if (method.forward || plan.config.dropout > 0) return;
    expectClose('the first loss', number(read.loss), number(kept.loss), tolerance);
  },

  async 'is from its file as large as it was, with the same frozen tensors'(scene) {
    const { method, model, plan, random } = scene;
    if (!method.fromDelta) return;
    await throughFiles(scene, await scene.adapterOf(random), async (read) => {
      const bound = bindMethod(scene.bind(read.method!.config as Record<string, unknown>), model);
      const again = await settled(bound, model, await scene.backend(), read);
      assert(again.size === plan.size, `bound from its file it trains ${again.size} numbers, ${plan.size} before`);
      const { frozen } = await resumeTensors(again, read, { seed: 0, parameters: model.parameters });
      const before = [...random.frozen].filter(([name]) => frozen.has(name));
      const now = before.map(([name]) => [name, frozen.get(name)!] as const);
      sameTensors('frozen', new Map(now), new Map(before));
    });
  },
};
