import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Adapter, compress, decompress, evaluate, readCompressed, train, writeCompressed } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { loadModel, rows, sequenceClassification } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expect, it } from 'vitest';
import { compeft, searchAlpha } from '../src/index.js';

const fixture = (path: string) => fileURLToPath(new URL(`../../../examples/fixtures/${path}`, import.meta.url));

it('a trained classifier keeps what it knows at decreasing densities, through a file', async () => {
  const backend = onnxruntime({ threads: 1 });
  const task = sequenceClassification({ labels: ['negative', 'positive'] });
  const model = await loadModel(fixture('encoder'), { task });
  const data = rows(fixture('train.tsv'));
  const method = lora({ r: 4, targetModules: ['query', 'value'] });
  const adapter = await train(model, { method, data, backend, lr: 1e-2, epochs: 40 }).result();
  const accuracy = async (adapter: Adapter) => (await evaluate(model, { adapter, data, backend })).accuracy!;
  const before = await accuracy(adapter);
  expect(before).toBeGreaterThan(0.9);

  const after = new Map<number, number>();
  for (const density of [0.5, 0.2, 0.1, 0.05, 0.01]) {
    const { compressed } = await searchAlpha(
      adapter,
      async (candidate) => {
        const file = { adapter: candidate, codec: 'compeft', bytes: 0, ratio: 0, density };
        return accuracy(await decompress(file, { codecs: [compeft] }));
      },
      { density, scope: 'factor' },
    ).result();
    const path = join(mkdtempSync(join(tmpdir(), 'peftjs-compeft-')), 'adapter.compeft');
    await writeCompressed(path, compressed);
    const file = await readCompressed(path, { codecs: [compeft] });
    expect(file.adapter.digest).toBe(compressed.adapter.digest);
    after.set(density, await accuracy(await decompress(file, { codecs: [compeft] })));
  }
  const headAlone = await accuracy({ ...adapter, delta: { shape: new Map(), params: new Map() } });
  console.log(`accuracy ${before} before, ${headAlone} without the update; by density: ${JSON.stringify([...after])}`);
  // Twenty-four rows on an encoder of 25,000 weights: a row is 0.04, and so small a model has little to spare.
  expect(after.get(0.5)).toBeGreaterThan(headAlone);
  for (const value of after.values()) expect(value).toBeGreaterThanOrEqual(0.5);
  await expect(compress(compeft(), adapter).result()).resolves.toMatchObject({ codec: 'compeft' });
  await backend.dispose();
}, 120_000);
