import {
  type Adapter,
  type Bound,
  baseLook,
  bindMethod,
  encodeAdapter,
  f32,
  isPeftError,
  lowRankTerm,
  readAdapter,
  resumeTensors,
  scale,
  settlePlan,
  startTensors,
  type Tensor,
  type TensorRef,
  tensorRef,
  toAdapter,
  veraProjections,
  type veraTerm,
} from '@peftjs/core';
import { memorySource, openSafetensors } from '@peftjs/core/files';
import { goldensPath, testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { vera } from '../src/index.js';

describe('vera', () => {
  testMethod(vera, { seedless: true, config: { r: 6 } });
  testMethod(vera, { seedless: true, config: { r: 3, saveProjection: false, projectionPrngKey: 7, dropout: 0.1 } });
  testMethod(vera, {
    seedless: true,
    config: { r: 5, targetModules: ['up', 'down'], bias: 'vera_only', dInitial: -0.5 },
  });
});

const floats = (tensor: Tensor | undefined): number[] => [...(tensor!.data as Float32Array)];

type Options = Parameters<typeof vera>[0];

async function laidOut(options: Options, start?: Adapter) {
  const { targets, parameters } = tinyModel();
  const plan = bindMethod(vera({ targetModules: ['up', 'down'], ...options }) as unknown as Bound, {
    targets,
    parameters,
  });
  return settlePlan(plan, baseLook({ plan, parameters, seed: 0, ...(start && { start }) }));
}

/** An adapter with vectors that are not those of the start. */
async function trained(options: Options): Promise<Adapter> {
  const { parameters } = tinyModel();
  const plan = await laidOut(options);
  const start = await startTensors(plan, { seed: 0, parameters });
  const train = new Map(
    [...start.train].map(([name, { shape, data }]) => [
      name,
      f32(
        shape,
        floats({ dtype: 'f32', shape, data }).map((_, i) => (i % 5) / 4 - 0.4),
      ),
    ]),
  );
  return toAdapter(plan, { ...start, train }, { parameters });
}

async function goOn(adapter: Adapter, options: Options) {
  const { parameters } = tinyModel();
  return resumeTensors(await laidOut(options, adapter), adapter, { seed: 0, parameters });
}

async function refusal(made: () => Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await made().then(
    () => expect.unreachable(),
    (reason: unknown) => reason,
  );
  expect(isPeftError(error)).toBe(true);
  return error as { code: string; message: string };
}

/** The adapter with other terms on its weights. */
function changed(
  adapter: Adapter,
  change: (path: string, term: ReturnType<typeof veraTerm>) => ReturnType<typeof veraTerm>,
): Adapter {
  const params = new Map([...adapter.delta.params].map(([path, [term]]) => [path, [change(path, term!)]] as const));
  return { ...adapter, delta: { ...adapter.delta, params } };
}

describe('configuration', () => {
  it("has the paper's and PEFT's numbers as defaults", () => {
    expect(vera().config).toMatchObject({ r: 256, dInitial: 0.1, projectionPrngKey: 0, saveProjection: true });
    expect(plugin.methods).toEqual([vera]);
  });

  it.each([
    [{ r: 0 }, 'r: '],
    [{ r: 1.5 }, 'r: '],
    [{ dInitial: 0 }, 'dInitial: must not be 0'],
    [{ projectionPrngKey: 0.5 }, 'projectionPrngKey: '],
  ])('refuses %j', async (options, named) => {
    const { code, message } = await refusal(async () => vera(options));
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain(named);
  });

  it('refuses a rank whose matrices no array holds', async () => {
    const { code, message } = await refusal(() => laidOut({ r: 1e9 }));
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain('a rank of 1000000000 needs a matrix of 8000000000 numbers');
  });

  it('refuses other kinds of modules', async () => {
    expect(await refusal(() => laidOut({ targetModules: ['embed'] }))).toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('the start', () => {
  it('is one pair of matrices for all, as wide as the widest, and d between them', async () => {
    const { parameters } = tinyModel();
    const plan = await laidOut({ r: 4, projectionPrngKey: 3, targetModules: ['up', 'down', 'mix'] });
    const { train, frozen } = await startTensors(plan, { seed: 11, parameters });
    const widest = (side: 'in' | 'out') => Math.max(...plan.sites.map(({ target }) => target[side]));
    const { A, B } = veraProjections(3, { r: 4, in: widest('in'), out: widest('out') });
    expect([...frozen.values()]).toEqual([A, B]);
    expect(floats(train.get('model.layers.0.up:d'))).toEqual(new Array(4).fill(Math.fround(0.1)));
    expect(floats(train.get('model.layers.0.up:b'))).toEqual(new Array(8).fill(0));
    expect(plan.size).toBe(plan.sites.reduce((sum, { target }) => sum + target.out + 4, 0));
  });

  const cases = goldensPath('methods');
  it.skipIf(!cases)('draws what PEFT drew from its keys, to the bit', async () => {
    for (const [name, key] of [
      ['vera-tiny-llama', 7],
      ['vera-mixed-shapes-tiny-bert', 11],
    ] as const) {
      const { tensors } = await openSafetensors(`${cases}/cases/${name}/adapter_start/adapter_model.safetensors`);
      const [A, B] = [tensors.get('base_model.vera_A')!, tensors.get('base_model.vera_B')!];
      const own = veraProjections(key, { r: A.shape[0]!, in: A.shape[1]!, out: B.shape[0]! });
      expect([floats(own.A), floats(own.B)]).toEqual([floats(await A.read()), floats(await B.read())]);
    }
  });
});

describe('the file', () => {
  it('is that of PEFT, with or without the matrices', async () => {
    for (const saveProjection of [true, false]) {
      const { layout, files } = await encodeAdapter(await trained({ r: 4, saveProjection, projectionPrngKey: 2 }));
      const at = (name: string) => memorySource(files.get(name)!, name);
      const [config, weights] = [at('adapter_config.json'), at('adapter_model.safetensors')];
      expect(layout).toBe('VERA');
      expect((await openSafetensors(weights)).tensors.has('base_model.vera_A')).toBe(saveProjection);
      const read = await readAdapter({ config, weights }, { base: tinyModel() });
      expect(read.digest).toBe((await trained({ r: 4, saveProjection, projectionPrngKey: 2 })).digest);
      expect(read.peft).toMatchObject({ r: 4, save_projection: saveProjection, projection_prng_key: 2 });
    }
  });

  it('holds a scaled adapter too, with the matrices once', async () => {
    const adapter = await trained({ r: 4 });
    const half = await scale(adapter, 0.5);
    const { layout, files } = await encodeAdapter(half);
    const sizeOf = (of: typeof files) => of.get('adapter_model.safetensors')!.length;
    expect([layout, sizeOf(files)]).toEqual(['VERA', sizeOf((await encodeAdapter(adapter)).files)]);
  });
});

describe('training on', () => {
  it('reads matrices that all modules refer to once', async () => {
    const adapter = await trained({ r: 4 });
    const { A } = adapter.delta.params.get('model.layers.0.up.weight')![0]!.tensors;
    let reads = 0;
    const counted: TensorRef = {
      ...A!,
      read: (options) => {
        reads++;
        return A!.read(options);
      },
    };
    await laidOut(
      { r: 4 },
      changed(adapter, (_, term) => ({ ...term, tensors: { ...term.tensors, A: counted } })),
    );
    expect(reads).toBe(1);
  });

  it('keeps matrices that were drawn elsewhere', async () => {
    const adapter = await trained({ r: 4, projectionPrngKey: 1 });
    const { A, B } = adapter.delta.params.get('model.layers.0.up.weight')![0]!.tensors;
    const { frozen, train } = await goOn(adapter, { r: 4, projectionPrngKey: 99 });
    expect([...frozen.values()].map(floats)).toEqual([floats(await A!.read()), floats(await B!.read())]);
    expect(floats(train.get('model.layers.0.up:b'))[1]).toBe(Math.fround(1 / 4 - 0.4));
  });

  it('takes a scale into b', async () => {
    const adapter = await trained({ r: 4 });
    const { train } = await goOn(await scale(adapter, 0.5), { r: 4 });
    expect(floats(train.get('model.layers.0.up:b'))[1]).toBe(Math.fround(1 / 4 - 0.4) / 2);
  });

  it('refuses another rank, matrices that differ, and updates of other kinds', async () => {
    const adapter = await trained({ r: 4 });
    expect(await refusal(() => goOn(adapter, { r: 5 }))).toMatchObject({ code: 'ADAPTER_MISMATCH' });

    const { A } = veraProjections(5, { r: 4, in: 8, out: 8 });
    const apart = changed(adapter, (path, term) =>
      path.endsWith('down.weight') ? { ...term, tensors: { ...term.tensors, A: tensorRef(A) } } : term,
    );
    const other = await refusal(() => goOn(apart, { r: 4 }));
    expect(other.code).toBe('ADAPTER_MISMATCH');
    expect(other.message).toContain('other shared matrices than "model.layers.0.up"');

    const low = changed(adapter, (_, { tensors }) => lowRankTerm({ a: tensors.A!, b: tensors.B! }, { scale: 1 }));
    expect(await refusal(() => goOn(low, { r: 4 }))).toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
  });
});
