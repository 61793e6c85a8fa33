import {
  adamw,
  attachMethod,
  type Backend,
  bindMethod,
  createOps,
  f32,
  fusedGraph,
  gradients,
  groupsOf,
  type Plan,
  type Start,
  scalarFeeds,
  startTensors,
  type TaskModel,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import { expectClose } from '../allclose.js';
import { assert } from '../law.js';
import { tinyModel } from '../tiny-model.js';
import type { Scene } from './scene.js';

/**
 * Numbers of a method's own authors on the tiny model: a safetensors file with this `format` in its metadata, beside
 * `config` (the method's options as JSON) and `lr`. Tensors: `base/<parameter>`, `start/<path>:<letter>` (trained and
 * frozen ones), `feeds/<input>` (with `loss_weight`), and the results `logits`, `loss` [], `grad/<path>:<letter>` and
 * `losses` [N], the losses before each of N updates of AdamW (betas 0.9 and 0.999, eps 1e-8, no decay) on the same batch.
 */
export const fixtureFormat = 'peftjs method fixture 1';

/** What a fixture gives: everything that its results follow from. */
export interface FixtureInputs {
  readonly model: TaskModel;
  readonly plan: Plan;
  readonly start: Start;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly lr: number;
  readonly steps: number;
}

/** The results of a fixture, by name. */
export async function fixtureResults(inputs: FixtureInputs, backend: Backend): Promise<Map<string, Tensor>> {
  const { model, plan, start, feeds, lr, steps } = inputs;
  const attach = () => attachMethod(model.graph('train'), plan, start, { training: false });
  const results = new Map<string, Tensor>();

  const once = attach();
  const ops = createOps(once.model.graph);
  const loss = (once.model as ReturnType<TaskModel['graph']>).loss!;
  const values = once.trainables.map(({ value }) => value);
  for (const [i, g] of gradients(once.model.graph, loss, values).entries()) ops.output(g, `grad/${values[i]!.name}`);
  const program = await backend.compile(once.model.graph);
  const outputs = await program.run({ ...feeds, ...Object.fromEntries(start.train) });
  await program.dispose();
  for (const [name, tensor] of Object.entries(outputs)) results.set(name, tensor);

  const again = attach();
  const optimizer = adamw();
  const { groups, of } = groupsOf(
    again.trainables.map(({ rule }) => rule),
    { lr, weightDecay: 0, optimizer },
  );
  const training = { graph: again.model.graph, loss: (again.model as typeof once.model & { loss: typeof loss }).loss };
  const step = fusedGraph({ ...training, trainables: again.trainables }, { groups, groupOf: of });
  const trainer = await backend.compile(step.graph, { outputs: step.outputs, carry: step.carry });
  for (const [name, tensor] of [...start.train, ...step.state]) await trainer.write(name, tensor);
  const losses: number[] = [];
  for (let t = 1; t <= steps; t++) {
    const { loss: now } = await trainer.run({ ...feeds, ...scalarFeeds(groups, { step: t, factor: 1 }) });
    losses.push(Number(now!.data[0]));
  }
  await trainer.dispose();
  return results.set('losses', f32([steps], losses));
}

async function readFixture(path: string, { bind }: Scene) {
  const file = await openSafetensors(path);
  const found = file.metadata.get('format');
  assert(found === fixtureFormat, `${path} has the format "${found}", needed is "${fixtureFormat}"`);
  const under = async (prefix: string) => {
    const own = new Map<string, Tensor>();
    for (const [name, ref] of file.tensors)
      if (name.startsWith(prefix)) own.set(name.slice(prefix.length), await ref.read());
    return own;
  };
  const model = tinyModel(new Map([...(await under('base/'))].map(([name, t]) => [name, tensorRef(t)])));
  const plan = bindMethod(bind(JSON.parse(file.metadata.get('config')!)), model);
  const fresh = await startTensors(plan, { seed: 0, parameters: model.parameters });
  const given = await under('start/');
  const pick = (names: Iterable<string>) => new Map([...names].map((name) => [name, given.get(name)!]));
  const expected = await under('');
  return {
    expected,
    inputs: {
      model,
      plan,
      start: { train: pick(fresh.train.keys()), frozen: pick(fresh.frozen.keys()), held: fresh.held },
      feeds: Object.fromEntries(await under('feeds/')),
      lr: Number(file.metadata.get('lr')),
      steps: expected.get('losses')!.shape[0]!,
    },
  };
}

export const fixtureLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async "agrees with the authors' numbers: forward, gradients, losses"(scene) {
    const { expected, inputs } = await readFixture(scene.options.fixture!, scene);
    const results = await fixtureResults(inputs, await scene.backend());
    const wanted = [...expected.keys()].filter((name) => !/^(base|start|feeds)\//.test(name));
    for (const name of wanted) {
      // 2e-5: two float32 implementations, through a whole model and several updates.
      expectClose(name, results.get(name)!, expected.get(name)!, { relToMax: 2e-5, absolute: 1e-8 });
    }
    assert(
      wanted.includes('logits') && wanted.some((name) => name.startsWith('grad/')),
      `the fixture only has ${wanted}`,
    );
  },
};
