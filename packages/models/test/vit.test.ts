import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Adapter,
  attachDelta,
  bindMethod,
  readAdapter,
  resumeTensors,
  type Tensor,
  train,
  writeAdapter,
} from '@peftjs/core';
import { openWeights, writeSafetensors } from '@peftjs/core/files';
import { createRandom, f32, type TensorRef } from '@peftjs/core/tensor';
import { lora } from '@peftjs/lora';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, goldensPath, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { vitConfig } from '../src/architectures/vit-config.js';
import { type Image, imageClassification, loadModel, openSession, sequenceClassification } from '../src/index.js';
import { temporaryDirectory, tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

const methods = goldensPath('methods');
const labels = ['red', 'green', 'blue'];

/** A picture with one strong channel, a little noise in all. */
function coloured(channel: number, seed: number): Image {
  const noise = createRandom(seed).uniform([64 * 3], 0, 60).data;
  const data = Uint8Array.from(
    { length: 64 * 3 },
    (_, i) => Math.floor(Number(noise[i])) + (i % 3 === channel ? 190 : 0),
  );
  return { width: 8, height: 8, data };
}

/** Rows whose column `image` names a colour and a seed. */
const colours = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ image: `${i % 3}:${from + i}`, label: labels[i % 3]! }));

const open = (name: string) => {
  const [channel, seed] = name.split(':').map(Number) as [number, number];
  return coloured(channel, seed);
};

const tiny = () => writeTinyModel(tinyConfigs.vit, tinyWeights(tinyConfigs.vit, 'features'));

describe('config.json', () => {
  const { vit } = tinyConfigs;

  it('says how an image becomes tokens', () => {
    expect(vitConfig(vit)).toMatchObject({ imageSize: [8, 8], patchSize: [4, 4], tokens: 5, headDim: 4 });
    expect(vitConfig({ ...vit, image_size: [8, 16] }).tokens).toBe(9);
    expect(vitConfig({ ...vit, image_size: undefined, patch_size: undefined }).tokens).toBe(197);
  });

  it('is refused for all that is not built at once', () => {
    const odd = { ...vit, patch_size: 3, hidden_act: 'mish', num_attention_heads: 5 };
    expect(() => vitConfig(odd)).toThrow(/image_size 8x8 in patches of 3x3[\s\S]*hidden_act "mish"[\s\S]*over 5 heads/);
  });
});

describe('an image classifier', () => {
  it('reads the class token of every image, and says which row is which token', async () => {
    const model = await loadModel(await tiny(), { task: imageClassification({ labels, open }) });
    const { task } = model;
    const examples = await task.load!(colours(2, 5).map((row, i) => task.encode(row, i)));
    const batch = task.batch(examples, [7, 3]);
    expect(batch).toMatchObject({ labels: 2, tokens: 10 });
    expect(batch.feeds.pixel_values!.shape).toEqual([2, 3, 8, 8]);
    expect(Array.from(batch.feeds.read!.data, Number)).toEqual([0, 5]);
    expect(Array.from(batch.feeds.labels!.data, Number)).toEqual([0, 1]);
    expect(Array.from(batch.rows['5*batch']!.sample)).toEqual([7, 7, 7, 7, 7, 3, 3, 3, 3, 3]);
    expect(Array.from(batch.rows['5*batch']!.token)).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    expect(Array.from(batch.rows['batch*reads']!.sample)).toEqual([7, 3]);
    const { sites } = model.graph('train');
    const extents = new Set([...sites.values()].map(({ x }) => x.shape[0]));
    expect([...extents].sort()).toEqual(Object.keys(batch.rows).sort());
  });

  it('takes pixels as they are, and refuses others by row', async () => {
    const pixels = createRandom(1).normal([3, 8, 8]);
    const given: Record<string, Tensor> = { whole: pixels, small: f32([3, 4, 4], new Float32Array(48)) };
    const task = imageClassification({ labels, open: (name) => given[name]! });
    const { task: bound } = await loadModel(await tiny(), { task });
    const [loaded] = await bound.load!([bound.encode({ image: 'whole' }, 0)]);
    expect(loaded!.pixels).toEqual(pixels.data);
    const wrong = bound.load!([bound.encode({ image: 'small' }, 4)]);
    await expect(wrong).rejects.toThrow(/The image "small" of row 4 is a tensor f32 \[3,4,4\].*f32 \[3,8,8\]/);
  });

  it('names rows without an image or a label, files that are not there, and models without eyes', async () => {
    const { task } = await loadModel(await tiny(), { task: imageClassification({ labels }) });
    expect(() => task.encode({ path: 'x' }, 2)).toThrow(/Row 2 needs the column `image`.*path/);
    expect(() => task.encode({ image: 'x', label: 'pink' }, 2)).toThrow(/Row 2 has the label "pink"/);
    await expect(task.load!([task.encode({ image: './none.png' }, 0)])).rejects.toThrow(
      /"\.\/none\.png" does not exist/,
    );
    expect(() => task.batch([{ length: 5, image: 'x', row: 2, pixels: new Float32Array(192) }], [2])).toThrow(
      /Row 2 needs the column `label`/,
    );
    const bert = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'features'));
    await expect(loadModel(bert, { task: imageClassification({ labels }) })).rejects.toThrow(
      /no head "image-classification"/,
    );
    await expect(loadModel(await tiny(), { task: sequenceClassification({ labels }) })).rejects.toThrow(
      /no head "sequence-classification".*image-classification/,
    );
  });

  it('learns colours, with dropout, and answers for images', async () => {
    const directory = await tiny();
    const backend = onnxruntime();
    const model = await loadModel(directory, { task: imageClassification({ labels, open }) });
    const run = train(model, {
      method: lora({ r: 4, targetModules: ['query', 'value'], dropout: 0.1 }),
      data: colours(48),
      evalData: colours(24, 1000),
      backend,
      lr: 2e-2,
      epochs: 4,
    });
    const metrics: Record<string, number>[] = [];
    for await (const event of run) if (event.type === 'eval') metrics.push(event.metrics);
    expect(metrics.at(-1)).toMatchObject({ accuracy: 1, f1: 1 });
    const adapter = await run.result();
    expect([...adapter.delta.params.keys()]).toContain('vit.layers.1.attention.q_proj.weight');
    const session = await openSession(model, { backend, adapters: [adapter] });
    const answers = await session.predict(['2:5000', { image: '0:5001' }]);
    expect(answers.map(({ label }) => label)).toEqual(['blue', 'red']);
    await session.dispose();
    await backend.dispose();
  }, 60_000);
});

/** The checkpoint's tensors under other names. */
async function renamedModel(directory: string, rename: (name: string) => string): Promise<string> {
  const copy = await temporaryDirectory();
  await writeFile(join(copy, 'config.json'), await readFile(join(directory, 'config.json')));
  const { tensors } = await openWeights(directory);
  await writeSafetensors(
    join(copy, 'model.safetensors'),
    new Map<string, TensorRef>([...tensors].map(([name, ref]) => [rename(name), ref])),
  );
  return copy;
}

const toClassic = (name: string) =>
  name
    .replace(/layers\.(\d+)\.attention\./, 'encoder.layer.$1.attention.attention.')
    .replace(/\.q_proj/, '.query')
    .replace(/\.v_proj/, '.value');

describe.skipIf(!methods)('names of modules', () => {
  const base = `${methods}/models/tiny-vit`;
  const golden = `${methods}/cases/lora-qv-tiny-vit-nonzero`;

  /** The adapter of the case as it was made before its library renamed modules. */
  async function classicAdapter(): Promise<string> {
    const folder = await temporaryDirectory();
    const config = JSON.parse(await readFile(join(golden, 'adapter_start/adapter_config.json'), 'utf8'));
    const changes = { target_modules: ['query', 'value'], rank_pattern: { query: 4 } };
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ ...config, ...changes }));
    const { tensors } = await openWeights(join(golden, 'adapter_start/adapter_model.safetensors'));
    await writeSafetensors(
      join(folder, 'adapter_model.safetensors'),
      new Map([...tensors].map(([name, ref]) => [toClassic(name), ref])),
    );
    return folder;
  }

  async function logits(directory: string, adapter: Adapter): Promise<Tensor> {
    const model = await loadModel(directory, { task: imageClassification() });
    const { tensors } = await openWeights(join(golden, 'inputs.safetensors'));
    const read: Tensor = { dtype: 'i64', shape: [3, 1], data: BigInt64Array.of(0n, 17n, 34n) };
    const { graph, outputs } = await attachDelta(model.graph('predict'), adapter, { parameters: model.parameters });
    const program = await referenceBackend().compile(graph);
    return (await program.run({ pixel_values: await tensors.get('pixel_values')!.read(), read }))[
      outputs.logits!.name
    ]!;
  }

  it('old and new ones of checkpoints and adapters give the same answers', async () => {
    const { tensors } = await openWeights(join(golden, 'expected.safetensors'));
    const expected = await tensors.get('logits/start')!.read();
    const fresh = await renamedModel(base, (name) =>
      name
        .replace(/encoder\.layer\.(\d+)\.attention\.attention\.(\w)\w+/, 'layers.$1.attention.$2_proj')
        .replace(/encoder\.layer\.(\d+)\.attention\.output\.dense/, 'layers.$1.attention.o_proj')
        .replace(/encoder\.layer\.(\d+)\.intermediate\.dense/, 'layers.$1.mlp.fc1')
        .replace(/encoder\.layer\.(\d+)\.output\.dense/, 'layers.$1.mlp.fc2')
        .replace('encoder.layer.', 'layers.'),
    );
    const bare = await renamedModel(base, (name) => name.replace(/^vit\./, ''));
    const model = await loadModel(base, { task: imageClassification() });
    const facts = { targets: model.targets, parameters: model.parameters };
    const adapters = [
      await readAdapter(join(golden, 'adapter_start')),
      await readAdapter(await classicAdapter()),
      await readAdapter(await classicAdapter(), { base: facts }),
    ];
    // 1.4e-5: what the case allows, twenty times its own distance from float64
    for (const directory of [base, fresh, bare])
      for (const adapter of adapters)
        expectClose('logits', await logits(directory, adapter), expected, { relToMax: 1.4e-5 });
  });

  it('an old adapter is trained on, and written under the names that PEFT has today', async () => {
    const model = await loadModel(base, { task: imageClassification() });
    const adapter = await readAdapter(await classicAdapter());
    const bound = lora({ r: 8, rankPattern: { query: 4, value: 4 }, targetModules: ['query', 'value'] });
    const plan = bindMethod(bound, model);
    expect(plan.report.unmatched).toEqual([]);
    const start = await resumeTensors(plan, adapter, { seed: 0, parameters: model.parameters });
    expect([...start.train.keys()]).toContain('vit.layers.0.attention.v_proj:a');

    const renamed = await readAdapter(await classicAdapter(), { base: model });
    const folder = join(await temporaryDirectory(), 'written');
    await writeAdapter(folder, renamed);
    const config = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    expect(config.target_modules).toContain('vit.layers.0.attention.q_proj');
    const { delta } = await readAdapter(folder, { base: model });
    expect([...delta.params.keys()].sort()).toEqual([...renamed.delta.params.keys()].sort());
  });
});
