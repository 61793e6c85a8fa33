import {
  type Adapter,
  alloc,
  applyAdapter,
  type BindModel,
  bindMethod,
  denseTerm,
  isPeftError,
  PeftError,
  readAdapter,
  type TensorRef,
  type Term,
  tensorRef,
  train,
  withKinds,
  withLayouts,
  writeAdapter,
} from '@peftjs/core';
import { assert, expectPeftError } from '../law.js';
import { inFolder } from './files.js';
import type { Scene } from './scene.js';
import { trainOptions } from './training.js';

/** The parameters that an adapter changes or replaces. */
const changedBy = ({ delta, replaced }: Adapter): string[] => [...delta.params.keys(), ...replaced.keys()];

/** The base with larger extents in these parameters. */
function widened({ parameters }: BindModel, paths: readonly string[]): ReadonlyMap<string, TensorRef> {
  const other = new Map(parameters);
  for (const path of paths) {
    const ref = parameters.get(path);
    if (!ref) continue;
    const read = async () => {
      throw new PeftError('INTERNAL', `"${path}" was read before its shape was looked at.`);
    };
    other.set(path, { ...ref, shape: ref.shape.map((extent) => extent + 1), read });
  }
  return other;
}

export const refusalLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'refuses targets that the model does not have, and keys that it does not know itself'({
    bind,
    model,
    options,
  }) {
    const nowhere = bind({ ...options.config, targetModules: ['no-such-module'] });
    await expectPeftError(() => bindMethod(nowhere, model), ['TARGETS_UNMATCHED'], ['no-such-module']);
    await expectPeftError(() => bind({ ...options.config, noSuchKey: 1 }), ['CONFIG_INVALID'], ['noSuchKey']);
  },

  async 'refuses a base of other shapes: from its file and in memory'(scene) {
    const { method, model, options, random } = scene;
    const kinds = withKinds(...(options.kinds ?? []));
    const layouts = withLayouts(...(options.layouts ?? []));
    const adapter = await scene.adapterOf(random);
    const [path] = changedBy(adapter).filter((name) => model.parameters.has(name));
    assert(path !== undefined, 'the adapter changes nothing of the base');
    const parameters = widened(model, [path]);
    const refused = [
      ['ADAPTER_MISMATCH', 'ADAPTER_INVALID', 'DELTA_CONFLICT'],
      [path.slice(0, path.lastIndexOf('.'))],
    ] as const;
    await inFolder(async (folder) => {
      await writeAdapter(folder, adapter, { layout: method.layout, layouts, kinds });
      const base = { parameters, targets: model.targets };
      await expectPeftError(() => readAdapter(folder, { layouts, kinds, base }), ...refused);
    });
    await expectPeftError(() => applyAdapter(parameters, adapter, { kinds }), ...refused);
  },

  async 'refuses to train on from an adapter of other targets'(scene) {
    const { method, model, random } = scene;
    if (!method.fromDelta) return;
    const adapter = await scene.adapterOf(random);
    const elsewhere = <T>(all: ReadonlyMap<string, T>) =>
      new Map([...all].map(([path, value]) => [`other.${path}`, value]));
    const { shape, params } = adapter.delta;
    const start: Adapter = {
      ...adapter,
      delta: { shape: elsewhere(shape), params: elsewhere(params) },
      replaced: elsewhere(adapter.replaced),
    };
    const run = async () => train(model, { ...(await trainOptions(scene)), start }).result();
    await expectPeftError(run, ['ADAPTER_MISMATCH', 'TARGETS_UNMATCHED']);
  },

  async 'refuses to train on from an adapter of other shapes, naming all of them'(scene) {
    if (!scene.method.fromDelta) return;
    const adapter = await scene.adapterOf(scene.random);
    const { shape, params } = adapter.delta;
    const larger = new Map([...shape].map(([path, extents]) => [path, extents.map((extent) => extent + 1)]));
    const start: Adapter = { ...adapter, delta: { shape: larger, params } };
    const run = async () => train(scene.model, { ...(await trainOptions(scene)), start }).result();
    await expectPeftError(run, ['ADAPTER_MISMATCH'], [...shape.keys()]);
  },

  async 'trains on from an adapter that changes nothing but biases those alone, or refuses'(scene) {
    const { method, model, plan, random } = scene;
    if (!method.fromDelta) return;
    const adapter = await scene.adapterOf(random);
    const biases = plan.sites.flatMap(({ target }) => {
      const [bias, whole] = [target.parameters.bias, adapter.delta.params.has(`${target.path}.weight`)];
      return bias && whole && target.kind !== 'vector' ? [[`${target.path}.bias`, bias.shape] as const] : [];
    });
    if (biases.length === 0) return;
    const zeros = (extents: readonly number[]) => denseTerm(tensorRef(alloc('f32', extents)));
    const params = new Map<string, Term[]>(biases.map(([path, extents]) => [path, [zeros(extents)]]));
    const start: Adapter = { ...adapter, delta: { shape: new Map(biases), params }, replaced: new Map() };
    const refusals = ['ADAPTER_MISMATCH', 'CONFIG_UNSUPPORTED', 'TARGETS_UNMATCHED'];
    const trained = await train(model, { ...(await trainOptions(scene)), start })
      .result()
      .catch((error: unknown) => {
        if (!isPeftError(error) || !refusals.includes(error.code)) throw error;
      });
    const others = trained ? [...trained.delta.params.keys()].filter((path) => !params.has(path)) : [];
    assert(others.length === 0, `it changes ${others.join(', ')} too`);
  },
};
