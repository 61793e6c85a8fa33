import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeSafetensors, memorySource, openSafetensors } from '../src/files/index.js';
import {
  type Adapter,
  applyAdapter,
  type BaseFacts,
  blockTerm,
  createRandom,
  type Delta,
  denseTerm,
  doraTerm,
  f32,
  indexRef,
  isPeftError,
  lowRankTerm,
  maskTerm,
  packMask,
  readAdapter,
  rowsTerm,
  scalingTerm,
  sparseTerm,
  type Target,
  type TensorRef,
  type Term,
  tensorRef,
  toF32,
  vera,
  veraProjections,
  veraTerm,
  writeAdapter,
} from '../src/index.js';

const random = createRandom(31);
const normal = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape));
const ints = (shape: readonly number[], list: readonly number[]) =>
  tensorRef({ dtype: 'i32', shape, data: Int32Array.from(list) });

const parameters = new Map<string, TensorRef>([
  ['m.q.weight', normal('q', [6, 8])],
  ['m.q.bias', normal('qb', [6])],
  ['m.v.weight', normal('v', [8, 6])],
  ['m.mix.weight', normal('mix', [6, 10])], // (in, out)
  ['m.mix.bias', normal('mixb', [10])],
  ['m.embed.weight', normal('embed', [9, 6])],
  ['head.weight', normal('head', [3, 8])],
]);

const kinds: Record<string, Target['kind']> = { 'm.mix': 'conv1d', 'm.embed': 'embedding' };
const targets: Target[] = ['m.q', 'm.v', 'm.mix', 'm.embed'].map((path) => {
  const kind = kinds[path] ?? 'linear';
  const weight = parameters.get(`${path}.weight`)!;
  const bias = parameters.get(`${path}.bias`);
  const [rows, columns] = weight.shape as [number, number];
  const [out, inside] = kind === 'linear' ? [rows, columns] : [columns, rows];
  return { kind, path, in: inside, out, parameters: { weight, ...(bias && { bias }) } };
});
const base: BaseFacts = { parameters, targets };

const folder = await mkdtemp(join(tmpdir(), 'peftjs-layouts-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const adapterOf = (entries: Record<string, readonly Term[]>, replaced: Record<string, TensorRef> = {}): Adapter => {
  const shape = new Map(Object.keys(entries).map((path) => [path, parameters.get(path)?.shape ?? [8]] as const));
  const delta: Delta = { shape, params: new Map(Object.entries(entries)) };
  return { delta, replaced: new Map(Object.entries(replaced)), digest: 'x' };
};

const messageOf = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return isPeftError(error) ? `${error.code} ${error.message}` : String(error);
  }
  return 'nothing thrown';
};

/** Every parameter after the adapter. */
async function merged(adapter: Adapter): Promise<Record<string, readonly number[]>> {
  const all = applyAdapter(parameters, adapter).parameters;
  const read = await Promise.all(
    [...all].map(async ([path, ref]) => [path, [...toF32(await ref.read()).data]] as const),
  );
  return Object.fromEntries(read);
}

const quiet = { warn: (message: string) => expect.fail(`it warned: ${message}`) };

let count = 0;

/** Writes, reads with and without the base, and sees that both change the base as the adapter did. */
async function roundTrip(adapter: Adapter, expected: string, layout?: string) {
  const at = join(folder, `${expected}-${count++}`);
  const written = await writeAdapter(at, adapter, { base, ...(layout && { layout }) });
  expect(written.layout).toBe(expected);
  const [alone, beside] = [await readAdapter(at, quiet), await readAdapter(at, { base, ...quiet })];
  expect(beside.digest).toBe(alone.digest);
  const want = await merged(adapter);
  expect(await merged(alone)).toEqual(want);
  expect(await merged(beside)).toEqual(want);
  const config = JSON.parse(await readFile(join(at, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  const again = join(at, 'again');
  await writeAdapter(again, alone);
  expect((await readAdapter(again, quiet)).digest).toBe(alone.digest);
  expect(JSON.parse(await readFile(join(again, 'adapter_config.json'), 'utf8'))).toEqual(config);
  return { at, config, adapter: alone };
}

const few = (path: string, indices: readonly number[], scale = 1): Term => {
  const [m, n] = parameters.get(path)!.shape as [number, number];
  return sparseTerm({ indices: indexRef(indices, m * n), values: normal(`${path}few`, [indices.length]) }, scale);
};
const low = (name: string, [out, inside]: readonly [number, number], r: number, scale = 0.5): Term =>
  lowRankTerm({ a: normal(`${name}a`, [r, inside]), b: normal(`${name}b`, [out, r]) }, { scale });
const dora = (name: string, [out, inside]: readonly [number, number], transposed = false): Term =>
  doraTerm(
    { a: normal(`${name}a`, [2, inside]), b: normal(`${name}b`, [out, 2]), magnitude: normal(`${name}m`, [out]) },
    { scale: 2, transposed },
  );
const scaled = (path: string, side: 'input' | 'output', length: number, transposed = false): Record<string, Term[]> => {
  const vector = normal(`${path}l`, [length]);
  return {
    [`${path}.weight`]: [scalingTerm(vector, { side, transposed })],
    ...(side === 'output' && { [`${path}.bias`]: [scalingTerm(vector, { side })] }),
  };
};

const pair = () => ({ A: normal('A', [3, 8]), B: normal('B', [8, 3]) });
const around = (
  name: string,
  out: number,
  shared: { A: TensorRef; B: TensorRef } = pair(),
  options: Parameters<typeof veraTerm>[1] = {},
): Term => veraTerm({ ...shared, d: normal(`${name}d`, [3]), b: normal(`${name}b`, [out]) }, options);

describe('the layout that writing chooses', () => {
  it('is LORA for factors, with magnitudes and rows of tables too', async () => {
    const rows = rowsTerm({ indices: indexRef([1, 7], 9), values: normal('rows', [2, 6]) });
    const plain = await roundTrip(adapterOf({ 'm.q.weight': [low('q', [6, 8], 2)], 'm.embed.weight': [rows] }), 'LORA');
    expect(plain.config.trainable_token_indices).toEqual({ 'm.embed': [1, 7] });
    expect(plain.config.use_dora).toBe(false);
    await roundTrip(adapterOf({ 'm.q.weight': [dora('q', [6, 8])], 'm.v.weight': [dora('v', [8, 6])] }), 'LORA');
    const { config, adapter } = await roundTrip(adapterOf({ 'm.mix.weight': [dora('mix', [10, 6], true)] }), 'LORA');
    expect(config).toMatchObject({ use_dora: true, fan_in_fan_out: true, r: 2, lora_alpha: 4 });
    expect(adapter.method?.config).toMatchObject({ dora: true });
  });

  it('is SHIRA for single entries, as many in every module as its r makes', async () => {
    const whole = { 'head.weight': normal('new head', [3, 8]) };
    const entries = {
      'm.q.weight': [few('m.q.weight', [0, 5, 40], 0.5), few('m.q.weight', [1, 5])],
      'm.v.weight': [few('m.v.weight', [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 47])],
    };
    const { at, config, adapter } = await roundTrip(adapterOf(entries, whole), 'SHIRA');
    expect(config).toMatchObject({
      peft_type: 'SHIRA',
      r: 2, // 15 entries of 8 + 6 a rank
      target_modules: ['m.q', 'm.v'],
      modules_to_save: ['head'],
      mask_type: 'random',
      inference_mode: true,
    });
    for (const path of ['m.q.weight', 'm.v.weight']) {
      const [term] = adapter.delta.params.get(path)!;
      expect(term!.tensors.values!.shape).toEqual([28]);
      const indices = [...((await term!.tensors.indices!.read()).data as Int32Array)];
      expect(new Set(indices).size).toBe(28);
    }
    expect((await readdir(at)).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'again',
      'peftjs.json',
    ]);
  });

  it('is SHIRA for blocks of rows and columns, whose entries need no other kind', async () => {
    const block = blockTerm({ indices: indexRef([2], 6), block: normal('block', [1, 8]) }, { scale: 2, axis: 0 });
    await roundTrip(adapterOf({ 'm.q.weight': [block] }), 'SHIRA');
  });

  it('is SUPERTUNING for entries and factors together', async () => {
    const adapter = adapterOf({
      'm.q.weight': [low('q', [6, 8], 2), few('m.q.weight', [0, 5, 40])],
      'm.v.weight': [few('m.v.weight', [3])],
    });
    const { config } = await roundTrip(adapter, 'SUPERTUNING');
    expect(config).toMatchObject({ r: 2, lora_alpha: 1, sparsity: 1 - 3 / 48, save_precomputed_indices: true });
  });

  it('is SUPERTUNING without factors when told so', async () => {
    const { config } = await roundTrip(
      adapterOf({ 'm.q.weight': [few('m.q.weight', [7])] }),
      'SUPERTUNING',
      'SUPERTUNING',
    );
    expect(config).toMatchObject({ r: null, lora_alpha: null });
  });

  it('is IA3 for vectors', async () => {
    const adapter = adapterOf({
      ...scaled('m.q', 'output', 6),
      ...scaled('m.v', 'input', 6),
      ...scaled('m.mix', 'output', 10, true),
    });
    const { config } = await roundTrip(adapter, 'IA3');
    expect(config).toMatchObject({ feedforward_modules: ['m.v'], fan_in_fan_out: true });
    expect(config.target_modules).toEqual(['m.mix', 'm.q', 'm.v']);
  });

  it('is VERA for vectors around shared matrices, which it keeps as wide as they are needed', async () => {
    const shared = { A: normal('A', [3, 9]), B: normal('B', [12, 3]) };
    const adapter = adapterOf(
      {
        'm.q.weight': [around('m.q', 6, shared)],
        'm.v.weight': [around('m.v', 8, shared)],
        'm.mix.weight': [around('m.mix', 10, shared, { transposed: true })],
      },
      {
        'head.weight': normal('new head', [3, 8]),
        'm.q.bias': normal('new bias', [6]),
        'm.mix.bias': normal('mix bias', [10]),
      },
    );
    const { at, config } = await roundTrip(adapter, 'VERA');
    expect(config).toMatchObject({
      r: 3,
      bias: 'vera_only',
      modules_to_save: ['head'],
      fan_in_fan_out: true,
      save_projection: true,
      target_modules: ['m.mix', 'm.q', 'm.v'],
    });
    const { tensors } = await openSafetensors(join(at, 'adapter_model.safetensors'));
    expect(tensors.get('base_model.vera_A')!.shape).toEqual([3, 8]);
    expect(tensors.get('base_model.vera_B')!.shape).toEqual([10, 3]);
  });

  it('is VERA for scaled vectors too, which take the scale in', async () => {
    const shared = pair();
    const adapter = adapterOf({
      'm.q.weight': [around('m.q', 6, shared, { scale: 0.5 })],
      'm.v.weight': [around('m.v', 8, shared)],
    });
    const at = join(folder, 'scaled');
    expect(await writeAdapter(at, adapter)).toEqual({ layout: 'VERA' });
    const read = await readAdapter(at, { base });
    const expected = (await vera.dense(adapter.delta.params.get('m.q.weight')![0]!, [6, 8])).data;
    expect((await vera.dense(read.delta.params.get('m.q.weight')![0]!, [6, 8])).data).toEqual(expected);
    expect(read.delta.params.get('m.v.weight')![0]!.meta.scale).toBe(1);
  });

  it('is VERA without the matrices where their key gives them again', async () => {
    const config = { saveProjection: false, projectionPrngKey: 9 };
    const keep = async (key: number) => {
      const { A, B } = veraProjections(key, { r: 3, in: 8, out: 8 });
      const shared = { A: tensorRef(A), B: tensorRef(B) };
      const terms = { 'm.q.weight': [around('m.q', 6, shared)], 'm.v.weight': [around('m.v', 8, shared)] };
      return roundTrip({ ...adapterOf(terms), method: { name: 'vera', config } }, 'VERA');
    };
    const left = await keep(9);
    expect(left.config).toMatchObject({ save_projection: false, projection_prng_key: 9 });
    expect((await openSafetensors(join(left.at, 'adapter_model.safetensors'))).tensors.has('base_model.vera_A')).toBe(
      false,
    );
    expect((await keep(10)).config).toMatchObject({ save_projection: true });
  });

  it('is PEFTJS for all else: masks, several kinds in order, vectors, blocks beside factors', async () => {
    const mask = maskTerm(packMask(Array.from({ length: 48 }, (_, i) => i % 3)));
    const adapter = adapterOf(
      {
        'm.q.weight': [mask, low('q', [6, 8], 2), few('m.q.weight', [0, 5, 40])],
        'm.q.bias': [sparseTerm({ indices: indexRef([2], 6), values: normal('bias', [1]) })],
        'm.mix.weight': [
          blockTerm({ indices: indexRef([2], 10), block: normal('b', [6, 1]) }, { axis: 1, transposed: true }),
        ],
        'm.embed.weight': [rowsTerm({ indices: indexRef([0], 9), values: normal('rows', [1, 6]) })],
        'm.v.weight': [denseTerm(normal('dense', [8, 6]), -2)],
      },
      { 'head.weight': normal('new head', [3, 8]) },
    );
    const { config } = await roundTrip(adapter, 'PEFTJS');
    expect(config).toMatchObject({ peft_type: 'PEFTJS', spec: 'v1', replaced: ['head.weight'] });
    expect(await merged(adapterOf({ 'm.q.weight': [mask] }))).not.toEqual(await merged(adapterOf({})));
  });

  it('is that of the files while it still holds the adapter, and the first that does otherwise', async () => {
    const { adapter } = await roundTrip(
      adapterOf({ 'm.q.weight': [few('m.q.weight', [7])] }),
      'SUPERTUNING',
      'SUPERTUNING',
    );
    expect((await writeAdapter(join(folder, 'kept'), adapter)).layout).toBe('SUPERTUNING');
    const delta = { ...adapter.delta, params: new Map([['m.q.weight', [low('q', [6, 8], 1)]]]) };
    expect((await writeAdapter(join(folder, 'moved'), { ...adapter, delta })).layout).toBe('SUPERTUNING');
    const turned = new Map([['m.q.weight', [dora('q', [6, 8])]]]);
    expect(
      (await writeAdapter(join(folder, 'first'), { ...adapter, delta: { ...delta, params: turned } })).layout,
    ).toBe('LORA');
    const config = JSON.parse(await readFile(join(folder, 'first', 'adapter_config.json'), 'utf8'));
    expect(config).not.toHaveProperty('sparsity');
  });
});

describe('a layout that is asked for', () => {
  it.each([
    ['SHIRA', { 'm.q.weight': [low('q', [6, 8], 1)] }, '"m.q.weight" has an update of kind low-rank'],
    ['SHIRA', { 'm.q.bias': [few('m.q.weight', [1])] }, '"m.q.bias" [6] is no weight of a linear layer'],
    ['SHIRA', { 'm.mix.weight': [few('m.mix.weight', [1])] }, 'belongs to conv1d, not to a linear layer'],
    ['SHIRA', { 'head.weight': [few('m.q.weight', [...Array(23).keys()])] }, 'has no room for 33 entries'],
    ['SUPERTUNING', { 'm.q.weight': [dora('q', [6, 8])] }, 'of kind dora'],
    [
      'SUPERTUNING',
      { 'm.q.weight': [low('q', [6, 8], 1, 2)], 'm.v.weight': [low('v', [8, 6], 1, 3)] },
      'its factors have the scales 2, 3',
    ],
    ['IA3', { 'm.q.weight': [few('m.q.weight', [1])] }, 'updates of kind sparse'],
    ['IA3', { 'm.q.weight': scaled('m.q', 'output', 6)['m.q.weight']! }, 'the bias of "m.q" is not scaled'],
    ['IA3', { 'm.q.bias': scaled('m.q', 'output', 6)['m.q.bias']! }, 'without the outputs of the weight'],
    ['VERA', { 'm.q.weight': [low('q', [6, 8], 1)] }, '"m.q.weight" has updates of kind low-rank'],
    ['VERA', { 'm.q.weight': [around('m.q', 6), around('m.q', 6)] }, 'updates of kind vera, vera'],
    [
      'VERA',
      { 'm.q.weight': [around('m.q', 6)], 'm.v.weight': [around('m.v', 8, { ...pair(), A: normal('other', [3, 8]) })] },
      '"m.v.weight" has another A than "m.q.weight"',
    ],
    [
      'LORA',
      { 'm.q.weight': [dora('q', [6, 8])], 'm.v.weight': [low('v', [8, 6], 2)] },
      'DoRA is for all modules or none in this layout, and 1 of 2 have it',
    ],
    [
      'LORA',
      { 'm.embed.weight': [rowsTerm({ indices: indexRef([], 9), values: f32Ref([0, 6]) })] },
      'no weight by factors',
    ],
  ])('%s says what does not fit: %#', async (layout, entries, problem) => {
    const message = await messageOf(() =>
      writeAdapter(join(folder, 'never'), adapterOf(entries as Record<string, Term[]>), { layout, base }),
    );
    expect(message).toContain(`DELTA_CONFLICT The ${layout} layout cannot hold this adapter`);
    expect(message).toContain(problem);
    expect(await readdir(folder)).not.toContain('never');
  });

  it('refuses full parameters inside modules that change otherwise', async () => {
    const adapter = adapterOf({ 'm.q.weight': [few('m.q.weight', [1])] }, { 'm.q.bias': normal('nb', [6]) });
    expect(await messageOf(() => writeAdapter(join(folder, 'never'), adapter, { layout: 'SHIRA' }))).toContain(
      '"m.q.bias" is replaced in full in a module that changes otherwise too',
    );
    expect((await writeAdapter(join(folder, 'native'), adapter)).layout).toBe('PEFTJS');
  });
});

function f32Ref(shape: readonly number[]): TensorRef {
  return tensorRef(f32(shape, new Float32Array(shape.reduce((n, d) => n * d, 1))));
}

/** Reads an adapter from its two files in memory. */
async function read(settings: object, tensors: Record<string, TensorRef>, facts: BaseFacts = base): Promise<Adapter> {
  const bytes = new TextEncoder().encode(JSON.stringify(settings));
  const weights = await encodeSafetensors(new Map(Object.entries(tensors)));
  const files = { config: memorySource(bytes, 'config'), weights: memorySource(weights, 'weights') };
  return readAdapter(files, { warn: () => {}, base: facts });
}

const key = (name: string) => `base_model.model.${name}`;

describe('reading SHIRA', () => {
  const config = { peft_type: 'SHIRA', r: 1, target_modules: ['q'] };
  const q = { rows: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0, 1], columns: [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 7, 7] };
  const good = {
    [key('m.q.shira_indices')]: ints([2, 14], [...q.rows, ...q.columns]),
    [key('m.q.shira_weight')]: normal('shira', [14]),
  };

  it('takes entries in any order', async () => {
    const adapter = await read(config, good);
    const [term] = adapter.delta.params.get('m.q.weight')!;
    const indices = [...((await term!.tensors.indices!.read()).data as Int32Array)];
    expect(indices).toEqual([...indices].sort((a, b) => a - b));
    const given = toF32(await good[key('m.q.shira_weight')]!.read()).data;
    const w = toF32(await parameters.get('m.q.weight')!.read()).data;
    const after = (await merged(adapter))['m.q.weight']!;
    q.rows.forEach((row, k) => {
      const at = row * 8 + q.columns[k]!;
      expect(after[at]).toBe(Math.fround(w[at]! + given[k]!));
    });
    expect(adapter.method).toEqual({ name: 'shira', config: { r: 1, targetModules: ['q'] } });
  });

  it('needs the base where nothing says the shapes', async () => {
    const message = await messageOf(() => read(config, good, {}));
    expect(message).toMatch(/^CONFIG_INVALID .*shapes.*"m.q.weight".*together with the base/);
  });

  it.each([
    ['a wrong count', { [key('m.q.shira_weight')]: normal('x', [13]) }, 'its shira_weight is [13], needed is [14]'],
    ['one axis', { [key('m.q.shira_indices')]: ints([14], q.rows) }, 'its shira_indices are [14], needed is [2,14]'],
    ['floats', { [key('m.q.shira_indices')]: normal('x', [2, 14]) }, 'is f32, not i32 or i64'],
    ['whole numbers', { [key('m.q.shira_weight')]: ints([14], q.rows) }, 'is i32, not floating point'],
    [
      'a place twice',
      { [key('m.q.shira_indices')]: ints([2, 14], [...q.rows.with(1, 0), ...q.columns.with(1, 0)]) },
      'its index 0 is there twice',
    ],
    [
      'a place outside',
      { [key('m.q.shira_indices')]: ints([2, 14], [...q.rows, ...q.columns.with(3, 8)]) },
      'its place 3 is (1, 8), outside [6,8]',
    ],
    [
      'a negative place',
      { [key('m.q.shira_indices')]: ints([2, 14], [...q.rows.with(0, -1), ...q.columns]) },
      'its place 0 is (-1, 0)',
    ],
    ['a NaN', { [key('m.q.shira_weight')]: tensorRef(f32([14], new Float32Array(14).fill(Number.NaN))) }, 'NaN'],
    [
      'an extra tensor',
      { [key('m.q.shira_more')]: normal('x', [1]) },
      'which neither modules_to_save nor bias accounts for',
    ],
    ['the name', { [key('m.q.shira_weight.default')]: normal('x', [14]) }, 'the adapter\'s name "default"'],
    ['another module', { [key('m.k.shira_weight')]: normal('x', [14]) }, '"m.k", which the base does not have'],
  ])('refuses %s', async (_, change, problem) => {
    const message = await messageOf(() => read(config, { ...good, ...change } as Record<string, TensorRef>));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });

  it('refuses a missing half, and a module that it should have', async () => {
    const { [key('m.q.shira_indices')]: _, ...half } = good;
    expect(await messageOf(() => read(config, half as Record<string, TensorRef>))).toContain('it has no shira_indices');
    const more = { ...config, target_modules: ['q', 'v'] };
    expect(await messageOf(() => read(more, good))).toContain('selects "m.v", but it has no tensors for it');
    expect(await messageOf(() => read(config, {}))).toContain('no SHiRA tensors');
    expect(await messageOf(() => read({ ...config, r: 0 }, good))).toContain('r: ');
  });
});

describe('reading SUPERTUNING', () => {
  // int(48 * (1 - 0.9)) is 4 in Python: 4.799999999999999 is cut.
  const config = { peft_type: 'SUPERTUNING', sparsity: 0.9, r: 2, target_modules: ['q'] };
  const good = {
    [key('m.q.supertuning_indices')]: ints([4], [40, 3, 17, 8]),
    [key('m.q.supertuning_values')]: tensorRef(f32([4], [1, 2, 3, 4])),
    [key('m.q.supertuning_lora_A.weight')]: normal('sa', [2, 8]),
    [key('m.q.supertuning_lora_B.weight')]: normal('sb', [6, 2]),
  };

  it('sorts the entries, and takes 2r for an alpha that is not given', async () => {
    const [factors, entries] = (await read(config, good)).delta.params.get('m.q.weight')!;
    expect(factors!.meta.scale).toBe(2);
    expect([...toF32(await entries!.tensors.values!.read()).data]).toEqual([2, 4, 3, 1]);
    const { [key('m.q.supertuning_lora_A.weight')]: _a, [key('m.q.supertuning_lora_B.weight')]: _b, ...few } = good;
    const alone = await read({ ...config, r: null }, few as Record<string, TensorRef>);
    expect(alone.delta.params.get('m.q.weight')!.map(({ kind }) => kind)).toEqual(['sparse']);
  });

  it.each([
    [
      'a count that the sparsity does not leave',
      {},
      { sparsity: 0.5 },
      'needed is [24]: what sparsity 0.5 leaves of 48',
    ],
    ['factors without r', {}, { r: null }, 'it has factors, but r is not set'],
    ['another rank', {}, { r: 3 }, 'its factor A is [2,8], r is 3'],
    ['no B', { [key('m.q.supertuning_lora_B.weight')]: undefined }, {}, 'r is 2, but it has no factor B'],
    ['wrong B', { [key('m.q.supertuning_lora_B.weight')]: normal('x', [5, 2]) }, {}, 'its factors make a [5,8] matrix'],
    ['an entry twice', { [key('m.q.supertuning_indices')]: ints([4], [3, 3, 1, 2]) }, {}, 'its index 3 is there twice'],
    ['an entry outside', { [key('m.q.supertuning_indices')]: ints([4], [3, 48, 1, 2]) }, {}, 'its index 48'],
    ['a sparsity of all', {}, { sparsity: 1 }, 'sparsity: '],
  ])('refuses %s', async (_, change, settings, problem) => {
    const tensors = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, ref]) => ref !== undefined));
    const message = await messageOf(() => read({ ...config, ...settings }, tensors as Record<string, TensorRef>));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });

  it('refuses files that leave the places to the base', async () => {
    expect(await messageOf(() => read({ ...config, save_precomputed_indices: false }, good))).toMatch(
      /^CONFIG_UNSUPPORTED .*save_precomputed_indices: false/,
    );
  });
});

describe('reading IA3', () => {
  const config = { peft_type: 'IA3', target_modules: ['q', 'v'], feedforward_modules: ['v'] };
  const good = { [key('m.q.ia3_l')]: normal('lq', [6, 1]), [key('m.v.ia3_l')]: normal('lv', [1, 6]) };

  it('multiplies outputs with their bias, and inputs of feed-forward modules', async () => {
    const after = await merged(await read(config, good));
    const lq = toF32(await good[key('m.q.ia3_l')]!.read()).data;
    const bias = toF32(await parameters.get('m.q.bias')!.read()).data;
    expect(after['m.q.bias']).toEqual([...bias.map((x, i) => Math.fround(x * lq[i]!))]);
    const lv = toF32(await good[key('m.v.ia3_l')]!.read()).data;
    const v = toF32(await parameters.get('m.v.weight')!.read()).data;
    expect(after['m.v.weight']).toEqual([...v.map((x, i) => Math.fround(x * lv[i % 6]!))]);
    expect(await merged(await read({ ...config, feedforward_modules: '.*v' }, good))).toEqual(after);
    expect(await merged(await read({ ...config, feedforward_modules: null }, good))).toEqual(after);
  });

  it.each([
    ['the other side', { feedforward_modules: ['q', 'v'] }, {}, 'the vector of "m.q" is [6,1], needed is [1,8]'],
    [
      'a wrong length',
      {},
      { [key('m.v.ia3_l')]: normal('x', [1, 7]) },
      'the vector of "m.v" is [1,7], needed is [1,6]',
    ],
    ['no vectors', {}, { [key('m.q.ia3_l')]: undefined, [key('m.v.ia3_l')]: undefined }, 'no tensors of (IA)³'],
  ])('refuses %s', async (_, settings, change, problem) => {
    const tensors = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, ref]) => ref !== undefined));
    const message = await messageOf(() => read({ ...config, ...settings }, tensors as Record<string, TensorRef>));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });

  it('refuses convolutions by name', async () => {
    const message = await messageOf(() => read(config, { [key('m.q.ia3_l')]: normal('x', [1, 6, 1, 1]) }));
    expect(message).toMatch(/^CONFIG_UNSUPPORTED .*convolution/);
  });
});

describe('reading VERA', () => {
  const config = { peft_type: 'VERA', r: 3, target_modules: ['q', 'v'], save_projection: true };
  const [A, B] = ['base_model.vera_A', 'base_model.vera_B'];
  const good = {
    [A]: normal('A', [3, 8]),
    [B]: normal('B', [8, 3]),
    [key('m.q.vera_lambda_b')]: normal('qb', [6]),
    [key('m.q.vera_lambda_d')]: normal('qd', [3]),
    [key('m.v.vera_lambda_b')]: normal('vb', [8]),
    [key('m.v.vera_lambda_d')]: normal('vd', [3]),
  };
  const without = (...names: string[]) => Object.fromEntries(names.map((name) => [name, undefined]));

  it('takes the part of the matrices that fits a module', async () => {
    const adapter = await read(config, good);
    expect(adapter.method).toEqual({
      name: 'vera',
      config: { r: 3, targetModules: ['q', 'v'], saveProjection: true, projectionPrngKey: 0 },
    });
    const [a, b, vb, vd, v] = await Promise.all(
      [
        good[A]!,
        good[B]!,
        good[key('m.v.vera_lambda_b')]!,
        good[key('m.v.vera_lambda_d')]!,
        parameters.get('m.v.weight')!,
      ].map(async (ref) => toF32(await ref.read()).data),
    );
    const after = (await merged(adapter))['m.v.weight']!;
    for (let o = 0; o < 8; o++)
      for (let i = 0; i < 6; i++) {
        const sum = [0, 1, 2].reduce((all, k) => all + b![o * 3 + k]! * vd![k]! * a![k * 8 + i]!, 0);
        expect(after[o * 6 + i]).toBeCloseTo(v![o * 6 + i]! + vb![o]! * sum, 5);
      }
  });

  it('draws the matrices again where the file leaves them to the key', async () => {
    const { [A]: _, [B]: __, ...rest } = good;
    const given = { ...config, save_projection: false, projection_prng_key: 5 };
    const adapter = await read(given, rest as Record<string, TensorRef>);
    const drawn = veraProjections(5, { r: 3, in: 8, out: 8 });
    const { tensors } = adapter.delta.params.get('m.q.weight')![0]!;
    expect([(await tensors.A!.read()).data, (await tensors.B!.read()).data]).toEqual([drawn.A.data, drawn.B.data]);
  });

  it.each([
    ['missing matrices', {}, without(A), 'its save_projection is true, but it has no tensor "base_model.vera_A"'],
    ['matrices that PEFT would leave aside', { save_projection: false }, {}, 'which PEFT leaves aside'],
    ['matrices of other modules', {}, { [A]: normal('x', [3, 9]) }, 'is [3,9], needed is [3,8]'],
    ['matrices of another rank', {}, { [B]: normal('x', [8, 4]) }, 'is [8,4], needed is [8,3]'],
    ['another rank', { r: 4 }, {}, 'its vera_lambda_d is [3], needed is [4]'],
    [
      'a wrong length',
      {},
      { [key('m.q.vera_lambda_b')]: normal('x', [8]) },
      'is [8], needed is [6]: it scales outputs',
    ],
    ['half a module', {}, without(key('m.q.vera_lambda_d')), '"m.q": it has no vera_lambda_d'],
    ['whole numbers', {}, { [A]: ints([3, 8], Array(24).fill(1)) }, 'is i32, not floating point'],
    ['no rank', { r: 0 }, {}, 'r: '],
    ['other biases', { bias: 'lora_only' }, {}, 'bias: '],
    ['biases that are not there', { bias: 'vera_only' }, {}, 'it should hold "m.q.bias" in full'],
  ])('refuses %s', async (_, settings, change, problem) => {
    const tensors = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, ref]) => ref !== undefined));
    const message = await messageOf(() => read({ ...config, ...settings }, tensors as Record<string, TensorRef>));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });

  it('needs the base where nothing says the shapes', async () => {
    expect(await messageOf(() => read(config, good, {}))).toMatch(/^CONFIG_INVALID .*together with the base/);
  });
});

describe('reading rows of tables (LORA)', () => {
  const config = { peft_type: 'LORA', r: 1, lora_alpha: 1, target_modules: ['q'] };
  const factors = { [key('m.q.lora_A.weight')]: normal('a', [1, 8]), [key('m.q.lora_B.weight')]: normal('b', [6, 1]) };
  const rows = { [key('m.embed.token_adapter.trainable_tokens_delta')]: normal('rows', [2, 6]) };

  it('takes them in the order of the list, by name or without', async () => {
    const given = toF32(await Object.values(rows)[0]!.read()).data;
    for (const trainable_token_indices of [{ embed: [7, 2] }, { 'm.embed': [7, 2] }, [7, 2]]) {
      const adapter = await read({ ...config, trainable_token_indices }, { ...factors, ...rows });
      const after = (await merged(adapter))['m.embed.weight']!;
      expect(after.slice(12, 18)).toEqual([...given.subarray(6)]);
      expect(after.slice(42, 48)).toEqual([...given.subarray(0, 6)]);
    }
  });

  it.each([
    [{ embed: [7] }, 'has rows [2,6] for 1 tokens of a table [9,6]'],
    [{ embed: [7, 7] }, 'names a token of "m.embed" twice'],
    [{ embed: [7, 9] }, 'its index 9 at 1 is outside 0 to 8'],
    [{ other: [7, 2] }, 'names "other", and it has 0 tables'],
    [null, 'it has rows of "m.embed", which trainable_token_indices does not name'],
  ])('refuses %j', async (trainable_token_indices, problem) => {
    const message = await messageOf(() => read({ ...config, trainable_token_indices }, { ...factors, ...rows }));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });
});

describe('reading DoRA (LORA)', () => {
  const config = { peft_type: 'LORA', r: 1, lora_alpha: 1, target_modules: ['q'], use_dora: true };
  const good = {
    [key('m.q.lora_A.weight')]: normal('a', [1, 8]),
    [key('m.q.lora_B.weight')]: normal('b', [6, 1]),
    [key('m.q.lora_magnitude_vector')]: normal('m', [6]),
  };

  it.each([
    [{ use_dora: false }, {}, 'is a magnitude of DoRA, but use_dora is not set'],
    [{}, { [key('m.q.lora_magnitude_vector')]: normal('m', [5]) }, 'the magnitude of "m.q" is [5], needed is [6]'],
    [{}, { [key('m.q.lora_magnitude_vector')]: undefined }, 'use_dora is set, but "m.q" has no magnitude'],
    [{ lora_bias: true }, { [key('m.q.lora_B.bias')]: normal('bb', [6]) }, 'do not go together'],
  ])('refuses %#', async (settings, change, problem) => {
    const tensors = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, ref]) => ref !== undefined));
    expect(await messageOf(() => read({ ...config, ...settings }, tensors as Record<string, TensorRef>))).toContain(
      problem,
    );
  });
});

describe('reading PEFTJS', () => {
  const entry = {
    path: 'm.q.bias',
    shape: [6],
    terms: [{ kind: 'sparse', meta: { scale: 1 }, tensors: ['indices', 'values'] }],
  };
  const config = { peft_type: 'PEFTJS', spec: 'v1', parameters: [entry], replaced: [] };
  const good = {
    'terms/m.q.bias/0/indices': ints([2], [1, 4]),
    'terms/m.q.bias/0/values': tensorRef(f32([2], [1, 2])),
  };

  it('takes what it says', async () => {
    const bias = toF32(await parameters.get('m.q.bias')!.read()).data;
    const after = (await merged(await read(config, good)))['m.q.bias'];
    expect(after).toEqual([...bias.map((x, i) => Math.fround(x + (i === 1 ? 1 : i === 4 ? 2 : 0)))]);
  });

  const [term] = entry.terms;
  it.each([
    ['unsorted indices', {}, { 'terms/m.q.bias/0/indices': ints([2], [4, 1]) }, 'not ascending at 1'],
    ['indices outside', {}, { 'terms/m.q.bias/0/indices': ints([2], [1, 6]) }, 'its index 6 at 1'],
    ['a missing tensor', {}, { 'terms/m.q.bias/0/values': undefined }, 'no tensor "terms/m.q.bias/0/values"'],
    ['an extra tensor', {}, { more: normal('x', [1]) }, 'the tensor "more", which its configuration does not name'],
    ['a NaN', {}, { 'terms/m.q.bias/0/values': tensorRef(f32([2], [1, Number.NaN])) }, 'NaN'],
    ['a wrong dtype', {}, { 'terms/m.q.bias/0/indices': normal('x', [2]) }, 'its tensor "indices" is f32'],
    ['an unknown key', { more: 1 }, {}, 'Unrecognized key'],
    ['a parameter twice', { parameters: [entry, entry] }, {}, '"m.q.bias" is listed twice'],
    [
      'a tensor twice',
      { parameters: [{ ...entry, terms: [{ ...term, tensors: ['indices', 'values', 'values'] }] }] },
      {},
      'is named twice',
    ],
    ['another shape', { parameters: [{ ...entry, shape: [7] }] }, {}, 'changes "m.q.bias" as [7], the base has [6]'],
    [
      'another parameter',
      { parameters: [{ ...entry, path: 'gone.weight' }] },
      {},
      'no tensor "terms/gone.weight/0/indices"',
    ],
    [
      'meta beyond bounds',
      { parameters: [{ ...entry, terms: [{ ...term, meta: { s: 'x'.repeat(300) } }] }] },
      {},
      'meta',
    ],
    [
      'a shape beyond bounds',
      { parameters: [{ ...entry, shape: [2 ** 32, 2 ** 32] }] },
      {},
      'larger than any parameter',
    ],
    [
      'replaced and changed',
      { replaced: ['m.q.bias'] },
      { 'replaced/m.q.bias': normal('x', [6]) },
      'replaced in full and changed',
    ],
    [
      'nothing',
      { parameters: [] },
      { 'terms/m.q.bias/0/indices': undefined, 'terms/m.q.bias/0/values': undefined },
      'changes nothing',
    ],
  ])('refuses %s', async (_, settings, change, problem) => {
    const tensors = Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, ref]) => ref !== undefined));
    const message = await messageOf(() => read({ ...config, ...settings }, tensors as Record<string, TensorRef>));
    expect(message).toMatch(/^ADAPTER_INVALID/);
    expect(message).toContain(problem);
  });

  it('refuses other versions and unknown kinds by name', async () => {
    expect(await messageOf(() => read({ ...config, spec: 'v9' }, good))).toMatch(/^CONFIG_UNSUPPORTED .*"v9"/);
    const odd = { ...config, parameters: [{ ...entry, terms: [{ ...term, kind: 'odd' }] }] };
    expect(await messageOf(() => read(odd, good))).toMatch(/^CONFIG_UNSUPPORTED .*"odd"/);
  });
});

describe('peftjs.json', () => {
  it('gives shapes that the files do not say, and only where they fit', async () => {
    const at = join(folder, 'shapes');
    await writeAdapter(at, adapterOf({ 'm.q.weight': [few('m.q.weight', [1, 2])] }));
    const path = join(at, 'peftjs.json');
    const sidecar = JSON.parse(await readFile(path, 'utf8'));
    expect(sidecar.shapes).toEqual([['m.q.weight', [6, 8]]]);
    const put = (shapes: unknown) => writeFile(path, JSON.stringify({ ...sidecar, shapes }));
    await put([['m.q.weight', [5, 9]]]); // as many inputs and outputs, but other entries: the digest tells
    const warnings: string[] = [];
    await readAdapter(at, { warn: (warning) => warnings.push(warning) });
    expect(warnings.join()).toContain('peftjs.json is left aside');
    await put([['m.q.weight', [2 ** 40, 2 ** 40]]]);
    expect(await messageOf(() => readAdapter(at, { warn: () => {} }))).toMatch(/^CONFIG_INVALID/);
    await put([['m.q.weight', [3, 8]]]);
    expect(await messageOf(() => readAdapter(at, { warn: () => {} }))).toContain('needed is [11]');
    expect((await readAdapter(at, { base, warn: () => {} })).delta.shape.get('m.q.weight')).toEqual([6, 8]);
  });
});
