import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type PeftCase, peftCases } from '../../../scripts/goldens/formats-peft.js';
import { goldensPath } from '../../testkit/src/shared.js';
import { encodeSafetensors, memorySource } from '../src/files/index.js';
import {
  type Adapter,
  applyDelta,
  contentDigest,
  createRandom,
  type Delta,
  denseTerm,
  encodeAdapter,
  f32,
  isPeftError,
  lowRankTerm,
  negate,
  type ReadAdapterOptions,
  readAdapter,
  scale,
  sum,
  type TensorRef,
  tensorRef,
  writeAdapter,
} from '../src/index.js';

const root = goldensPath('formats', 'peft') && goldensPath();
const cases: PeftCase[] = [];
if (root) for await (const golden of peftCases(root)) cases.push(golden);

describe('reference folders of PEFT', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(75));
  for (const { kind, name, run } of cases) it(`${kind}: ${name}`, run);
});

const random = createRandom(21);
const tensor = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape));

const folder = await mkdtemp(join(tmpdir(), 'peftjs-adapter-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const config = { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['q', 'v'] };
const key = (name: string) => `base_model.model.${name}`;
const factors = (modules: readonly string[], r = 2): Record<string, TensorRef> =>
  Object.fromEntries(
    modules.flatMap((m) => [
      [key(`${m}.lora_A.weight`), tensor(`${m}a`, [r, 4])],
      [key(`${m}.lora_B.weight`), tensor(`${m}b`, [3, r])],
    ]),
  );

/** Reads an adapter from its two files in memory. */
async function read(
  settings: object,
  tensors: Record<string, TensorRef>,
  options: ReadAdapterOptions = {},
): Promise<Adapter> {
  const bytes = new TextEncoder().encode(JSON.stringify(settings));
  const weights = await encodeSafetensors(new Map(Object.entries(tensors)));
  return readAdapter(
    { config: memorySource(bytes, 'config'), weights: memorySource(weights, 'weights') },
    { warn: () => {}, ...options },
  );
}

const messageOf = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return isPeftError(error) ? `${error.code} ${error.message}` : String(error);
  }
  return 'nothing thrown';
};

const written = async (name: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(folder, name, 'adapter_config.json'), 'utf8'));

describe('writing', () => {
  it('keeps keys it does not read and everything else of the configuration', async () => {
    const heard: string[] = [];
    const adapter = await read(
      { ...config, revision: 'main', from_the_future: [1], auto_mapping: { a: 1 } },
      factors(['q', 'v']),
      {
        warn: (message) => heard.push(message),
      },
    );
    expect(heard).toHaveLength(1);
    expect(heard[0]).toContain('from_the_future');
    await writeAdapter(join(folder, 'kept'), adapter);
    expect(await written('kept')).toMatchObject({
      ...config,
      revision: 'main',
      from_the_future: [1],
      auto_mapping: { a: 1 },
    });
    expect(await readdir(join(folder, 'kept'))).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'peftjs.json',
    ]);
  });

  it('makes the same files in memory', async () => {
    const adapter = await read(config, factors(['q', 'v']));
    await writeAdapter(join(folder, 'both-ways'), adapter);
    const { files } = await encodeAdapter(adapter);
    expect([...files.keys()].sort()).toEqual((await readdir(join(folder, 'both-ways'))).sort());
    for (const [name, bytes] of files) {
      const written = await readFile(join(folder, 'both-ways', name));
      expect(written.equals(bytes), name).toBe(true);
    }
  });

  it('leaves other files of the folder and replaces its own', async () => {
    const path = join(folder, 'again');
    await writeAdapter(path, await read(config, factors(['q', 'v'])));
    await writeFile(join(path, 'README.md'), 'words');
    await writeFile(join(path, 'adapter_model.bin'), 'pickle');
    await writeAdapter(path, await read({ ...config, target_modules: ['q'] }, factors(['q'])));
    expect(await readdir(path)).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'peftjs.json',
    ]);
    expect((await readAdapter(path)).delta.params.size).toBe(1);
  });

  it('writes a sum with a pattern for every module that differs, and reads the same change again', async () => {
    const one = await read(config, factors(['a.q', 'a.v']));
    const two = await read({ ...config, r: 1, lora_alpha: 1, target_modules: ['q'] }, factors(['a.q'], 1));
    const both = sum(one, scale(two, 0.5));
    await writeAdapter(join(folder, 'sum'), both);
    expect(await written('sum')).toMatchObject({ target_modules: ['a.q', 'a.v'], r: 3, rank_pattern: { '^a.v': 2 } });
    const again = await readAdapter(join(folder, 'sum'), { warn: (message) => expect.unreachable(message) });
    const base = new Map(['a.q', 'a.v'].map((m) => [`${m}.weight`, tensorRef(f32([3, 4], new Float32Array(12)))]));
    for (const path of base.keys()) {
      const [want, got] = await Promise.all(
        [both, again].map(({ delta }) => applyDelta(base, delta).get(path)!.read()),
      );
      // The factors of a sum take up its scales: one more rounding of numbers of about 5.
      for (let i = 0; i < 12; i++) expect(Math.abs(Number(got!.data[i]) - Number(want!.data[i]))).toBeLessThan(1e-5);
    }
  });

  it('holds negative scales', async () => {
    await writeAdapter(join(folder, 'negative'), negate(await read(config, factors(['q', 'v']))));
    expect((await written('negative')).lora_alpha).toBe(-4);
    expect((await readAdapter(join(folder, 'negative'))).delta.params.get('q.weight')?.[0]?.meta.scale).toBe(-2);
  });

  it('refuses what the layout cannot hold, naming it, and writes nothing', async () => {
    const delta: Delta = {
      shape: new Map([
        ['q.weight', [3, 4]],
        ['norm.scale', [4]],
      ]),
      params: new Map([
        ['q.weight', [denseTerm(tensor('d', [3, 4]))]],
        ['norm.scale', [denseTerm(tensor('n', [4]))]],
      ]),
    };
    const adapter = { delta, replaced: new Map(), digest: 'x' };
    const message = await messageOf(() => writeAdapter(join(folder, 'never'), adapter, { layout: 'LORA' }));
    for (const part of ['DELTA_CONFLICT', '"q.weight" has an update of kind dense', '"norm.scale"'])
      expect(message).toContain(part);
    expect(await readdir(folder)).not.toContain('never');
  });

  it('says in peftjs.json what PEFT cannot, and forgets it when the adapter was changed', async () => {
    const adapter: Adapter = {
      ...(await read(config, factors(['q', 'v']))),
      method: { name: 'mine', config: { secret: 1 } },
      task: { name: 'sequence-classification', labels: ['no', 'yes'] },
      base: { name: 'org/base', digest: 'sha256:1' },
    };
    const path = join(folder, 'sidecar');
    await writeAdapter(path, adapter);
    const { method, task, base } = await readAdapter(path);
    expect({ method, task, base }).toEqual({ method: adapter.method, task: adapter.task, base: adapter.base });
    expect((await written('sidecar')).task_type).toBe('SEQ_CLS');
    const settings = await written('sidecar');
    await writeFile(
      join(path, 'adapter_config.json'),
      JSON.stringify({ ...settings, lora_alpha: 8, alpha_pattern: {} }),
    );
    const heard: string[] = [];
    expect((await readAdapter(path, { warn: (message) => heard.push(message) })).method?.name).toBe('lora');
    expect(heard.join()).toContain('peftjs.json');
  });
});

describe('reading', () => {
  it('decides how square weights lie by the base, and by the hint without one', async () => {
    const square = { [key('c.lora_A.weight')]: tensor('sa', [2, 4]), [key('c.lora_B.weight')]: tensor('sb', [4, 2]) };
    const settings = { ...config, target_modules: ['c'] };
    const transposed = async (hint: boolean, base?: ReadAdapterOptions['base']) =>
      (await read({ ...settings, fan_in_fan_out: hint }, square, base ? { base } : {})).delta.params.get(
        'c.weight',
      )?.[0]?.meta.transposed;
    const target = (kind: 'linear' | 'conv1d') => ({ kind, path: 'c', in: 4, out: 4, parameters: {} });
    expect(await transposed(true)).toBe(true);
    expect(await transposed(false)).toBe(false);
    expect(await transposed(true, { targets: [target('linear')] })).toBe(false);
    expect(await transposed(false, { targets: [target('conv1d')] })).toBe(true);
    const oblong = { parameters: new Map([['q.weight', tensor('w', [4, 3])]]) };
    const conv = await read({ ...config, target_modules: ['q'] }, factors(['q']), { base: oblong });
    expect(conv.delta.shape.get('q.weight')).toEqual([4, 3]);
  });

  it('drops the copy of an embedding that PEFT stores beside its factors, but keeps a resized one', async () => {
    const table = tensor('table', [4, 3]);
    const tensors = {
      [key('emb.lora_embedding_A')]: tensor('ea', [2, 4]),
      [key('emb.lora_embedding_B')]: tensor('eb', [3, 2]),
      [key('emb.base_layer.weight')]: table,
    };
    const settings = { ...config, target_modules: ['emb'] };
    const same = await read(settings, tensors, { base: { parameters: new Map([['emb.weight', table]]) } });
    expect(same.replaced.size).toBe(0);
    const other = await read(settings, tensors, {
      base: { parameters: new Map([['emb.weight', tensor('old', [4, 3])]]) },
    });
    expect([...other.replaced.keys()]).toEqual(['emb.weight']);
    await writeAdapter(join(folder, 'embedding'), other);
    expect((await readAdapter(join(folder, 'embedding'), { warn: () => {} })).digest).toBe(other.digest);
  });

  it('accepts heads that PEFT lists by itself, and no others', async () => {
    const head = { ...factors(['q']), [key('score.weight')]: tensor('score', [2, 3]) };
    const listed = { ...config, target_modules: ['q'], modules_to_save: ['classifier', 'score'] };
    expect([...(await read({ ...listed, task_type: 'SEQ_CLS' }, head)).replaced.keys()]).toEqual(['score.weight']);
    expect(await messageOf(() => read(listed, head))).toContain('lists "classifier"');
  });

  it.each([
    ['use_qalora', true],
    ['layer_replication', [[0, 1]]],
    ['target_parameters', ['experts']],
    ['alora_invocation_tokens', [1]],
    ['init_lora_weights', 'pissa_niter_4'],
    ['loftq_config', { loftq_bits: 4 }],
  ])('refuses %s by name', async (name, value) => {
    const message = await messageOf(() => read({ ...config, [name]: value }, factors(['q', 'v'])));
    expect(message).toContain('CONFIG_UNSUPPORTED');
    expect(message).toContain(name);
  });

  it('lists everything wrong with the tensors at once', async () => {
    const tensors = {
      ...factors(['q']),
      [key('v.lora_A.weight')]: tensor('x', [3, 4]),
      [key('z.lora_B.weight')]: tensor('y', [3, 2]),
    };
    const message = await messageOf(() => read(config, tensors));
    for (const part of ['ADAPTER_INVALID', '"v" has no factor B', '"z" has no factor A', '"z", which'])
      expect(message).toContain(part);
  });

  it('has the digest of its content', async () => {
    const adapter = await read(config, factors(['q', 'v']));
    expect(adapter.digest).toBe(await contentDigest(adapter));
    const same = {
      delta: { shape: adapter.delta.shape, params: new Map([...adapter.delta.params].reverse()) },
      replaced: new Map(),
    };
    expect(await contentDigest(same)).toBe(adapter.digest);
    const { a, b } = adapter.delta.params.get('q.weight')![0]!.tensors;
    expect(lowRankTerm({ a: a!, b: b! }, { scale: 2 })).toEqual(adapter.delta.params.get('q.weight')![0]);
  });
});
