import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  bindMethod,
  readAdapter,
  startTensors,
  type Tensor,
  withKinds,
  withLayouts,
  writeAdapter,
} from '@peftjs/core';
import { compare, expectBitEqual } from '../allclose.js';
import { assert } from '../law.js';
import { type Scene, settled } from './scene.js';

/** Calls `use` with an empty folder that is removed afterwards. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-testkit-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function sameTensors(
  what: string,
  got: ReadonlyMap<string, Tensor>,
  expected: ReadonlyMap<string, Tensor>,
): void {
  const [a, b] = [[...got.keys()].sort(), [...expected.keys()].sort()];
  assert(`${a}` === `${b}`, `${what}: tensors ${a}, expected ${b}`);
  for (const [name, tensor] of expected) expectBitEqual(`${what}: ${name}`, got.get(name)!, tensor);
}

/** Every stored tensor of an adapter, by path, place and name. */
async function stored({ delta, replaced }: Adapter): Promise<Map<string, Tensor>> {
  const all = new Map<string, Tensor>();
  for (const [path, terms] of delta.params) {
    for (const [i, term] of terms.entries()) {
      for (const [name, ref] of Object.entries(term.tensors))
        all.set(`${path} ${i} ${term.kind} ${name}`, await ref.read());
    }
  }
  for (const [path, ref] of replaced) all.set(path, await ref.read());
  return all;
}

export const fileLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'saves and loads bit for bit'(scene) {
    const { method, model, random, options } = scene;
    const layouts = withLayouts(...(options.layouts ?? []));
    const kinds = withKinds(...(options.kinds ?? []));
    const adapter = await scene.adapterOf(random);
    await inFolder(async (folder) => {
      const [first, second] = [join(folder, 'first'), join(folder, 'second')];
      const base = { parameters: model.parameters, targets: model.targets };
      const warnings: string[] = [];
      await writeAdapter(first, adapter, { layout: method.layout, layouts, kinds });
      const read = await readAdapter(first, { layouts, kinds, base, warn: (message) => warnings.push(message) });
      assert(warnings.length === 0, `reading its own file warns: ${warnings}`);
      assert(read.digest === adapter.digest, `digest ${read.digest} after reading, ${adapter.digest} before`);
      assert(read.method?.name === method.name, `the method is "${read.method?.name}" after reading`);
      sameTensors('read back', await stored(read), await stored(adapter));

      await writeAdapter(second, read, { layouts, kinds });
      const weights = (at: string) => readFile(join(at, 'adapter_model.safetensors'));
      assert((await weights(first)).equals(await weights(second)), 'written again, the file differs');
    });
  },

  async 'starts from the seed alone, each target for itself'(scene) {
    const { backend, bind, bound, model, options, plan, start } = scene;
    const { parameters } = model;
    const again = await startTensors(plan, { seed: 0, parameters });
    sameTensors('the same seed', again.train, start.train);
    sameTensors('the same seed, frozen', again.frozen, start.frozen);
    sameTensors('the same seed, held', again.held, start.held);

    // Shared tensors see all targets at once, and so does a plan that gives some.
    if (plan.method.shared || plan.sites.some(({ given = {} }) => Object.keys(given).length > 0)) return;
    const other = await startTensors(plan, { seed: 1, parameters });
    const all = ({ train, frozen, held }: typeof start) =>
      [...train, ...frozen, ...held].filter(([name]) => name.includes(':'));
    const others = new Map(all(other));
    const changed = all(start).some(([name, t]) => !compare(others.get(name)!, t, { absolute: 0 }).close);
    assert(changed || options.seedless, 'another seed gives the same start');

    const last = plan.sites.at(-1)!.target.path;
    const alone = await settled(
      bindMethod(bind({ ...options.config, targetModules: [last] }), model),
      model,
      await backend(),
    );
    if (JSON.stringify(plan.sites.at(-1)!.c) !== JSON.stringify(alone.sites[0]!.c)) return;
    const single = await startTensors(alone, { seed: 0, parameters });
    assert(bound.config.targetModules !== undefined, 'the configuration names no targets');
    for (const [name, tensor] of [...single.train, ...single.frozen]) {
      const before = start.train.get(name) ?? start.frozen.get(name);
      expectBitEqual(`${name}, with its target alone`, tensor, before!);
    }
  },
};
