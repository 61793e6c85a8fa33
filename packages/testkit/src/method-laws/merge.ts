import {
  type Adapter,
  applyAdapter,
  attachDelta,
  attachMethod,
  contentDigest,
  denseTerm,
  kindOf,
  negate,
  type Parameters,
  scale,
  sum,
  type Tensor,
  tensorRef,
  unapply,
  withKinds,
} from '@peftjs/core';
import { compare, expectBitEqual, expectClose } from '../allclose.js';
import { assert, expectPeftError } from '../law.js';
import { tensorOf } from '../numbers.js';
import { tinyModel } from '../tiny-model.js';
import { tinyFeeds } from '../tiny-task.js';
import { addsExactly, methodFeeds, type Scene } from './scene.js';

type Form = ReturnType<ReturnType<typeof tinyModel>['graph']>;

const { features, input_ids } = tinyFeeds(6);

/** Logits of a form of the tiny model; `trained` is what it is fed beside the model's inputs. */
export async function logitsOf(
  { backend }: Scene,
  form: Form,
  trained: Readonly<Record<string, Tensor>> = {},
): Promise<Tensor> {
  const name = form.outputs.logits!.name;
  const program = await (await backend()).compile(form.graph, { outputs: [name] });
  try {
    const result = await program.run(
      only({ features: features!, input_ids: input_ids!, ...trained }, form.graph.inputs),
    );
    return result[name]!;
  } finally {
    await program.dispose();
  }
}

/** The feeds that a graph has inputs for. */
export const only = (feeds: Readonly<Record<string, Tensor>>, inputs: readonly { readonly name: string }[]) =>
  Object.fromEntries(inputs.flatMap(({ name }) => (feeds[name] ? [[name, feeds[name]]] : [])));

const kindsOf = ({ options }: Scene) => withKinds(...(options.kinds ?? []));

async function beside(scene: Scene, adapters: readonly Adapter[]): Promise<Tensor> {
  let form = scene.model.graph('predict');
  for (const adapter of adapters)
    form = await attachDelta(form, adapter, { parameters: scene.model.parameters, kinds: kindsOf(scene) });
  return logitsOf(scene, form);
}

const merged = (scene: Scene, adapters: readonly Adapter[]): Promise<Tensor> => {
  let { parameters } = scene.model as { parameters: Parameters };
  for (const adapter of adapters) parameters = applyAdapter(parameters, adapter, { kinds: kindsOf(scene) }).parameters;
  return logitsOf(scene, tinyModel(parameters).graph('predict'));
};

/** Whether all of the update can be put into weights; where not, trying it must be refused by name. */
async function mergeable(scene: Scene, adapter: Adapter): Promise<boolean> {
  const kinds = kindsOf(scene);
  const whole = [...adapter.delta.params.values()].flat().every((term) => kindOf(term, kinds).mergeable !== false);
  if (!whole) await expectPeftError(() => merged(scene, [adapter]), ['DELTA_CONFLICT']);
  return whole;
}

/** Merging puts the change into the weights and taking it out gives every bit back. */
async function restores(scene: Scene, adapter: Adapter): Promise<void> {
  const { model } = scene;
  const into = applyAdapter(model.parameters, adapter, { kinds: kindsOf(scene) });
  const restored = unapply(into);
  for (const [path, ref] of model.parameters) {
    expectBitEqual(`${path}, merged and unmerged`, await restored.get(path)!.read(), await ref.read());
  }
  for (const path of adapter.delta.params.keys()) {
    const [before, after] = [await model.parameters.get(path)!.read(), await into.parameters.get(path)!.read()];
    assert(!compare(after, before, { absolute: 0 }).close, `merging left ${path} as it was`);
  }
}

/** A dense adapter of another target than the method may change too: it must add to anything. */
async function denseAdapter({ model, plan }: Scene): Promise<Adapter> {
  const paths = [...new Set(['model.layers.0.down.weight', `${plan.sites[0]!.target.path}.weight`])];
  const shape = new Map(paths.map((path) => [path, model.parameters.get(path)!.shape]));
  const term = (path: string) =>
    denseTerm(tensorRef(tensorOf('f32', shape.get(path)!, { from: -0.2, to: 0.2 }, `dense ${path}`)));
  const delta = { shape, params: new Map(paths.map((path) => [path, [term(path)]])) };
  const replaced = new Map();
  return { delta, replaced, digest: await contentDigest({ delta, replaced }) };
}

/** All ways to run one adapter, or several at once, give the same numbers. */
async function agrees(scene: Scene, whole: Adapter, parts: readonly Adapter[]): Promise<void> {
  // 5e-6: the products are added in another order, through a whole model.
  const tolerance = { relToMax: 5e-6 };
  const expected = await merged(scene, parts);
  expectClose('the sum beside the base', await beside(scene, [whole]), expected, tolerance);
  expectClose('the parts beside the base', await beside(scene, parts), expected, tolerance);
  expectClose('the sum merged', await merged(scene, [whole]), expected, tolerance);
  await restores(scene, whole);
}

export const mergeLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'attached, beside the base and merged, it computes the same'(scene) {
    const { model, plan, random } = scene;
    const adapter = await scene.adapterOf(random);
    const attached = attachMethod(model.graph('predict'), plan, random, { training: false }).model;
    const got = await logitsOf(scene, attached, methodFeeds(plan, random));
    const tolerance = { relToMax: 5e-6 }; // the products are added in another order
    expectClose('beside the base', await beside(scene, [adapter]), got, tolerance);
    if (await mergeable(scene, adapter)) expectClose('merged', await merged(scene, [adapter]), got, tolerance);
    const base = await logitsOf(scene, model.graph('predict'));
    assert(!compare(got, base, { relToMax: 1e-3 }).close, 'random tensors left the logits as they were');
  },

  async 'merging and unmerging restores every bit of the base'(scene) {
    const adapter = await scene.adapterOf(scene.random);
    if (await mergeable(scene, adapter)) await restores(scene, adapter);
  },

  async 'sums with itself, with another and with its negative'(scene) {
    if (!addsExactly(scene)) return;
    const { replaced: _, ...rest } = await scene.adapterOf(scene.random);
    const one: Adapter = { ...rest, replaced: new Map() }; // replacements do not add, by definition
    const kinds = kindsOf(scene);
    await agrees(scene, sum(one, one, { kinds }), [one, one]);
    const other = scene.options.other ?? (await denseAdapter(scene));
    await agrees(scene, sum(one, other, { kinds }), [one, other]);
    const half = scale(one, 0.5, kinds);
    await agrees(scene, sum(half, half, other, { kinds }), [one, other]);
    const nothing = await merged(scene, [sum(one, negate(one, kinds), { kinds })]);
    expectClose('an adapter and its negative', nothing, await logitsOf(scene, scene.model.graph('predict')), {
      relToMax: 5e-6,
    });
  },
};
