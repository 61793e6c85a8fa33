import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  baseLook,
  bindMethod,
  f32,
  type Look,
  readAdapter,
  resumeTensors,
  scale,
  settlePlan,
  startTensors,
  toAdapter,
  writeAdapter,
} from '@peftjs/core';
import { tensorOf, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type LoraSettings, lora } from '../src/index.js';

const model = tinyModel();
const { parameters, targets } = model;
const [up, mix] = ['model.layers.0.up', 'model.layers.1.mix'];

async function written<T>(adapter: Adapter, use: (config: Record<string, unknown>, read: Adapter) => T): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-lora-'));
  try {
    await writeAdapter(join(folder, 'out'), adapter);
    const config = JSON.parse(await readFile(join(folder, 'out', 'adapter_config.json'), 'utf8'));
    return await use(config, await readAdapter(join(folder, 'out'), { base: { parameters, targets } }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('files', () => {
  it('of EVA name the modules that are left, with their ranks, and training goes on from them', async () => {
    const bound = bindMethod(lora({ r: 2, alpha: 4, init: 'eva', targetModules: ['up', 'mix'] }), model);
    const look: Look<LoraSettings> = {
      ...baseLook({ plan: bound, parameters, seed: 0 }),
      async *activations() {
        yield new Map([
          [up!, f32([9, 6], new Float32Array(54))], // always the same, so nothing explains anything
          [mix!, tensorOf('f32', [9, 6], { from: -1, to: 1 }, 'inputs')],
        ]);
      },
    };
    const plan = await settlePlan(bound, look);
    const start = await startTensors(plan, { seed: 0, parameters });
    const adapter = await toAdapter(plan, start, { parameters });
    await written(adapter, async (config, read) => {
      expect(config).toMatchObject({ target_modules: [mix], r: 4, lora_alpha: 8, init_lora_weights: true });
      expect(read.delta.params.size).toBe(1);
      const again = bindMethod(lora(read.method!.config as Parameters<typeof lora>[0]), model);
      const settled = await settlePlan(again, baseLook({ plan: again, parameters, seed: 1, start: read }));
      expect(settled.sites.map(({ c }) => c)).toMatchObject([{ r: 4, alpha: 8 }]);
      expect((await resumeTensors(settled, read, { seed: 1, parameters })).train).toEqual(start.train);
      await expect(settlePlan(again, baseLook({ plan: again, parameters, seed: 1 }))).rejects.toThrow(/activations/);
    });
  });

  it('of PiSSA hold the difference from its start, of twice the rank at the same scale', async () => {
    const bound = bindMethod(
      lora({ r: 2, alpha: 6, rslora: true, init: 'pissa', targetModules: ['up', 'mix'] }),
      model,
    );
    const plan = await settlePlan(bound, baseLook({ plan: bound, parameters, seed: 0 }));
    const start = await startTensors(plan, { seed: 0, parameters });
    await written(await toAdapter(plan, start, { parameters }), (config, read) => {
      expect(config).toMatchObject({ r: 4, use_rslora: true, init_lora_weights: true, target_modules: ['up', 'mix'] });
      expect(config.lora_alpha).toBeCloseTo(6 * Math.SQRT2, 10);
      expect(read.method!.config).toMatchObject({ r: 2, alpha: 6, init: 'pissa' });
      expect(read.delta.params.get(`${up}.weight`)![0]!.tensors.a!.shape).toEqual([4, 6]);
    });
  });
});

describe('training on', () => {
  type Options = NonNullable<Parameters<typeof lora>[0]>;
  const laidOut = async (options: Options, more: Partial<Look<LoraSettings>> = {}) => {
    const plan = bindMethod(lora({ r: 2, alpha: 6, targetModules: ['up', 'mix'], ...options }), model);
    return settlePlan(plan, { ...baseLook({ plan, parameters, seed: 0 }), ...more });
  };
  const saved = async (options: Options) => {
    const plan = await laidOut(options);
    return toAdapter(plan, await startTensors(plan, { seed: 0, parameters }), { parameters });
  };
  const goOn = async (adapter: Adapter, options: Options, more: Partial<Look<LoraSettings>> = {}) =>
    resumeTensors(await laidOut(options, { start: adapter, ...more }), adapter, { seed: 1, parameters });

  it.each([
    ['init pissa', { init: 'pissa' }, /init pissa goes on from the difference of rank 4.* has rank 2: leave init out/],
    ['init olora', { init: 'olora' }, /init olora goes on from the difference/],
    ['DoRA', { dora: true }, /DoRA goes on from its magnitudes, and this has none: leave dora out/],
  ] as const)('refuses plain factors under %s, where they mean another function', async (_, options, why) => {
    await expect(goOn(await saved({}), options)).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringMatching(why),
    });
  });

  it('goes on from the difference that PiSSA saves without looking at weights', async () => {
    const plan = await laidOut({ init: 'pissa' });
    const start = await startTensors(plan, { seed: 0, parameters });
    const adapter = await toAdapter(plan, start, { parameters });
    const weight = () => Promise.reject(new Error('not needed'));
    expect(await goOn(adapter, { init: 'pissa' }, { weight })).toEqual(start);
  });

  it('begins a bias in B at zero where the adapter has none', async () => {
    const { train } = await goOn(await saved({ init: false }), { init: false, loraBias: true });
    expect([...train.get(`${up}:bias`)!.data].every((x) => x === 0)).toBe(true);
  });

  it('takes a scale into B and into its bias', async () => {
    const options = { init: false, loraBias: true } as const;
    const adapter = await saved(options);
    const [whole, half] = [await goOn(adapter, options), await goOn(await scale(adapter, 0.5), options)];
    for (const [letter, factor] of [
      ['a', 1],
      ['b', 0.5],
      ['bias', 0.5],
    ] as const) {
      const values = whole.train.get(`${up}:${letter}`)!.data as Float32Array;
      expect(half.train.get(`${up}:${letter}`)!.data).toEqual(values.map((x) => factor * x));
    }
  });
});
