import { isPeftError } from '@peftjs/core';
import { f32, type TensorRef, tensorRef } from '@peftjs/core/tensor';
import { referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { causalLm, embedding, loadModel, sequenceClassification } from '../src/index.js';
import { resolveParameters } from '../src/weights.js';
import { tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

const ref = (...shape: number[]): TensorRef =>
  tensorRef(f32(shape, new Float32Array(shape.reduce((a, b) => a * b, 1))));

async function problemsOf(run: Promise<unknown>): Promise<string> {
  const error = await run.then(
    () => new Error('it did not fail'),
    (e: unknown) => e,
  );
  if (!isPeftError(error)) throw error;
  return `${error.code} ${error.message}`;
}

describe('weights', () => {
  it('finds names with and without the body prefix, and older names of norms', () => {
    const declared = new Map([
      ['bert.a.weight', [2]],
      ['bert.b.LayerNorm.weight', [3]],
      ['c.weight', [4]],
    ]);
    const tensors = new Map([
      ['a.weight', ref(2)],
      ['bert.b.LayerNorm.gamma', ref(3)],
      ['bert.c.weight', ref(4)],
    ]);
    const aliases = (path: string) => [path.replace('LayerNorm.weight', 'LayerNorm.gamma')];
    const found = resolveParameters({ declared, tensors, bodyPrefix: 'bert.', aliases }, 'x');
    expect([...found]).toEqual([
      ['bert.a.weight', tensors.get('a.weight')],
      ['bert.b.LayerNorm.weight', tensors.get('bert.b.LayerNorm.gamma')],
      ['c.weight', tensors.get('bert.c.weight')],
    ]);
  });

  it('reports everything missing, misshapen or of another type at once', async () => {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    weights.delete('model.norm.weight');
    weights.set('lm_head.weight', ref(40, 15));
    weights.set('model.layers.1.mlp.up_proj.bias', tensorRef({ dtype: 'i32', shape: [24], data: new Int32Array(24) }));
    const message = await problemsOf(loadModel(await writeTinyModel(tinyConfigs.llama, weights), { task: causalLm() }));
    expect(message).toMatch(/^FILE_INVALID/);
    expect(message).toContain('"model.norm.weight" [16] is missing');
    expect(message).toContain('"lm_head.weight" has shape [40,15], the configuration makes it [40,16]');
    expect(message).toContain('"model.layers.1.mlp.up_proj.bias" is i32');
  });

  it('ties the head to the embedding: one reference under two names, one value in the graph', async () => {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    weights.delete('lm_head.weight');
    const config = { ...tinyConfigs.llama, tie_word_embeddings: true };
    const model = await loadModel(await writeTinyModel(config, weights), { task: causalLm() });
    expect(model.parameters.get('lm_head.weight')).toBe(model.parameters.get('model.embed_tokens.weight'));
    expect(model.tied).toEqual({ 'lm_head.weight': 'model.embed_tokens.weight' });
    expect(model.created).toEqual([]);
    const { graph } = model.graph('predict');
    expect([graph.weights.has('model.embed_tokens.weight'), graph.weights.has('lm_head.weight')]).toEqual([
      true,
      false,
    ]);
  });

  it('makes a head the checkpoint has not, the same from the same seed', async () => {
    const weights = tinyWeights(tinyConfigs.bert, 'sequence-classification');
    for (const name of ['classifier.weight', 'classifier.bias']) weights.delete(name);
    const bare = new Map([...weights].map(([name, tensor]) => [name.replace(/^bert\./, ''), tensor]));
    const directory = await writeTinyModel(tinyConfigs.bert, bare);
    const load = (seed: number) => loadModel(directory, { task: sequenceClassification({ labels: ['x', 'y'] }), seed });
    const [one, again, other] = [await load(0), await load(0), await load(1)];
    expect(one.created).toEqual(['classifier.weight', 'classifier.bias']);
    expect(one.task.modulesToSave).toEqual(['classifier']);
    const numbers = async (model: typeof one, name: string) => (await model.parameters.get(name)!.read()).data;
    expect(await numbers(again, 'classifier.weight')).toEqual(await numbers(one, 'classifier.weight'));
    expect(await numbers(other, 'classifier.weight')).not.toEqual(await numbers(one, 'classifier.weight'));
    expect(await numbers(one, 'classifier.bias')).toEqual(new Float32Array(2));
    const drawn = Array.from(await numbers(one, 'classifier.weight'), Number);
    const std = Math.sqrt(drawn.reduce((sum, x) => sum + x * x, 0) / drawn.length);
    expect(std).toBeGreaterThan(0.01); // N(0, 0.02), 32 numbers
    expect(std).toBeLessThan(0.03);
    expect(await again.digest()).toBe(await other.digest()); // of the base alone
  });

  it('keeps a head the checkpoint has, unless a new one is asked for', async () => {
    const config = { ...tinyConfigs.bert, id2label: { '0': 'x', '1': 'y', '2': 'z' } };
    const directory = await writeTinyModel(config, tinyWeights(tinyConfigs.bert, 'sequence-classification'));
    const kept = await loadModel(directory, { task: sequenceClassification() });
    expect([kept.created, kept.task.labels]).toEqual([[], ['x', 'y', 'z']]);
    const fresh = await loadModel(directory, { task: sequenceClassification({ labels: ['p', 'q'], head: 'new' }) });
    expect(fresh.created).toEqual(['classifier.weight', 'classifier.bias']);
    const wrong = await problemsOf(loadModel(directory, { task: sequenceClassification({ labels: ['p', 'q'] }) }));
    expect(wrong).toContain('"classifier.weight" has shape [3,16], the configuration makes it [2,16]');
  });

  it('asks for labels where nothing says them', async () => {
    const directory = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'features'));
    expect(await problemsOf(loadModel(directory, { task: sequenceClassification() }))).toMatch(
      /CONFIG_INVALID.*labels/,
    );
  });

  it('has targets under the names of transformers', async () => {
    const directory = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'sequence-classification'));
    const classifier = await loadModel(directory, { task: sequenceClassification({ labels: ['x', 'y', 'z'] }) });
    const paths = classifier.targets.map(({ path }) => path);
    expect(paths).toContain('bert.encoder.layer.0.attention.self.query');
    expect(paths).toContain('bert.embeddings.word_embeddings');
    expect(classifier.targets.filter(({ head }) => head).map(({ path }) => path)).toEqual(['classifier']);
    const encoder = await loadModel(directory, { task: embedding() });
    expect(encoder.targets.map(({ path }) => path)).toContain('encoder.layer.1.output.dense');
    const query = classifier.targets.find(({ path }) => path.endsWith('0.attention.self.query'))!;
    expect(query).toMatchObject({ kind: 'linear', in: 16, out: 16, layer: 0, role: 'query' });
    expect(Object.keys(query.parameters)).toEqual(['weight', 'bias']);
  });

  it('refuses weights that are not finite when asked to look', async () => {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    weights.set('model.norm.weight', tensorRef(f32([16], new Float32Array(16).fill(Number.NaN, 3, 5))));
    const directory = await writeTinyModel(tinyConfigs.llama, weights);
    const message = await problemsOf(loadModel(directory, { task: causalLm(), checkFinite: true }));
    expect(message).toContain('"model.norm.weight" has 2 values that are not finite, the first at 3');
  });

  it('computes with f16 weights as with their f32 values', async () => {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    const half = new Map(weights);
    const bits = Uint16Array.from({ length: 16 }, (_, i) => 0x3c00 + i);
    half.set('model.norm.weight', tensorRef({ dtype: 'f16', shape: [16], data: bits }));
    const wide = Float32Array.from(bits, (b) => 1 + (b - 0x3c00) / 1024);
    weights.set('model.norm.weight', tensorRef(f32([16], wide)));
    const logits = async (of: ReadonlyMap<string, TensorRef>) => {
      const model = await loadModel(await writeTinyModel(tinyConfigs.llama, of), { task: causalLm() });
      const program = await referenceBackend().compile(model.graph('predict').graph);
      const batch = model.task.batch([{ length: 3, ids: [4, 5, 6], from: 0 }], [0], { labels: false });
      return (await program.run(batch.feeds)).logits!.data;
    };
    expect(await logits(half)).toEqual(await logits(weights));
  });
});
