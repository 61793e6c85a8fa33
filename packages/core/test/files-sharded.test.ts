import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  digestTensors,
  encodeSafetensors,
  type FileSet,
  memorySource,
  openWeights,
  writeSharded,
} from '../src/files/index.js';
import { f32, type TensorRef, tensorRef } from '../src/tensor/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peftjs-sharded-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tensors = new Map<string, TensorRef>(
  Array.from({ length: 7 }, (_, i) => [`layer.${i}`, tensorRef(f32([i + 1], Array(i + 1).fill(i)))]),
);

describe('writeSharded', () => {
  it('writes shards within the bound and an index that openWeights reads back to the same content', async () => {
    const out = join(folder, 'out');
    await writeSharded(out, tensors, { maxShardBytes: 32, metadata: new Map([['format', 'pt']]) });
    expect((await readdir(out)).length).toBe(6); // 4+8+12, 16, 20, 24, 28 bytes, and the index
    const index = JSON.parse(await readFile(join(out, 'model.safetensors.index.json'), 'utf8'));
    expect(index.metadata.total_size).toBe(4 * 28);
    expect(index.weight_map['layer.6']).toBe('model-00005-of-00005.safetensors');
    const weights = await openWeights(out);
    expect(weights.warnings).toEqual([]);
    expect(weights.metadata.get('format')).toBe('pt');
    expect(await digestTensors(weights.tensors)).toBe(await digestTensors(tensors));
    await weights.close();
    await expect(weights.tensors.get('layer.0')!.read()).rejects.toThrow('closed');
  });

  it('replaces weights of the same name and keeps all other files', async () => {
    const out = join(folder, 'again');
    await writeSharded(out, tensors, { maxShardBytes: 32 });
    await writeFile(join(out, 'config.json'), '{}');
    await writeFile(join(out, 'model-notes.txt'), 'mine');
    await mkdir(join(out, 'onnx'));
    await writeFile(join(out, 'onnx', 'model.onnx'), 'x');
    const { tensors: own } = await openWeights(out);
    await writeSharded(out, own); // from the very files that are replaced
    expect(await readdir(out)).toEqual(['config.json', 'model-notes.txt', 'model.safetensors', 'onnx']);
    expect(await readFile(join(out, 'onnx', 'model.onnx'), 'utf8')).toBe('x');
    expect(await digestTensors((await openWeights(out)).tensors)).toBe(await digestTensors(tensors));
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('refuses a bound that is none', async () => {
    for (const maxShardBytes of [0, -1, Number.NaN])
      await expect(writeSharded(join(folder, 'never'), tensors, { maxShardBytes })).rejects.toThrow('maxShardBytes');
  });
});

describe('openWeights', () => {
  it('follows links inside a folder and in the Hugging Face cache, and no others', async () => {
    const repository = join(folder, 'models--a--b');
    const snapshot = join(repository, 'snapshots', 'main');
    await mkdir(snapshot, { recursive: true });
    await writeSharded(join(repository, 'blobs'), tensors);
    await symlink('../../blobs/model.safetensors', join(snapshot, 'model.safetensors'));
    expect((await openWeights(snapshot)).tensors.size).toBe(7);

    const stranger = join(folder, 'stranger');
    await mkdir(stranger);
    await symlink('../models--a--b/blobs/model.safetensors', join(stranger, 'model.safetensors'));
    await expect(openWeights(stranger)).rejects.toThrow('is a symbolic link that leaves its folder');
    expect((await openWeights(join(stranger, 'model.safetensors'))).tensors.size).toBe(7); // named by the user himself
  });

  it('reports all that is wrong with an index and its shards at once', async () => {
    const out = join(folder, 'broken');
    await writeSharded(out, tensors, { maxShardBytes: 32 });
    const path = join(out, 'model.safetensors.index.json');
    const index = JSON.parse(await readFile(path, 'utf8'));
    index.weight_map.ghost = 'model-00001-of-00005.safetensors';
    index.weight_map['layer.6'] = 'model-00009-of-00009.safetensors';
    delete index.weight_map['layer.5'];
    index.weight_map.other = 'model-00004-of-00005.safetensors';
    await writeFile(path, JSON.stringify(index));
    const failure = openWeights(path);
    for (const part of [
      '"model-00009-of-00009.safetensors" is missing',
      '"ghost" is not in the shard',
      '"layer.5" of the shard',
      '"other" is not in the shard',
    ])
      await expect(failure).rejects.toThrow(part);
  });

  it('opens a set of files that lies in no folder, whole or in shards', async () => {
    const out = join(folder, 'set');
    await writeSharded(out, tensors, { maxShardBytes: 32 });
    const held = new Map<string, Uint8Array>();
    for (const name of await readdir(out)) held.set(name, await readFile(join(out, name)));
    const setOf = (files: ReadonlyMap<string, Uint8Array>): FileSet => ({
      name: 'the chosen files',
      open: async (name) => (files.has(name) ? memorySource(files.get(name)!, name) : undefined),
    });
    expect(await digestTensors((await openWeights(setOf(held))).tensors)).toBe(await digestTensors(tensors));
    const single = new Map([['model.safetensors', await encodeSafetensors(tensors)]]);
    expect(await digestTensors((await openWeights(setOf(single))).tensors)).toBe(await digestTensors(tensors));
    held.delete('model-00003-of-00005.safetensors');
    await expect(openWeights(setOf(held))).rejects.toThrow('"model-00003-of-00005.safetensors" is missing');
    await expect(openWeights(setOf(new Map()))).rejects.toThrow('the chosen files has neither model.safetensors');
  });

  it('says which files it looked for', async () => {
    await mkdir(join(folder, 'nothing'));
    await expect(openWeights(join(folder, 'nothing'), { name: 'adapter_model' })).rejects.toThrow(
      'has neither adapter_model.safetensors nor adapter_model.safetensors.index.json',
    );
    await expect(openWeights(join(folder, 'absent'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
  });
});
