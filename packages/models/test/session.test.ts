import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, sharedPath } from '@peftjs/testkit';
import { afterAll, describe, expect, it } from 'vitest';
import { causalLm, embedding, loadModel, openSession, openWriter, sequenceClassification } from '../src/index.js';

const encoder = sharedPath('models', 'all-MiniLM-L6-v2');
const stories = sharedPath('models', 'stories260k');
const backend = onnxruntime({ threads: 1 });
afterAll(() => backend.dispose());

describe.skipIf(!encoder || !stories)('sessions over real models (skipped: the shared models are missing)', () => {
  it('embed texts in the order given, however batches are laid out', async () => {
    const model = await loadModel(encoder!, { task: embedding() });
    const session = await openSession(model, { backend, batchSize: 3 });
    const texts = ['A man is eating food.', 'a', 'The stock market fell sharply on Monday.', 'Someone eats a meal.'];
    const together = await session.predict(texts);
    for (const [i, text] of texts.entries()) {
      const [alone] = await session.predict([text]);
      const vector = (v: Float32Array) => ({ dtype: 'f32' as const, shape: [v.length], data: v });
      expectClose(text, vector(together[i]!.embedding!), vector(alone!.embedding!), { absolute: 2e-6 });
    }
    await session.dispose();
  });

  it('classify with probabilities that add up to one', async () => {
    const model = await loadModel(encoder!, { task: sequenceClassification({ labels: ['negative', 'positive'] }) });
    const session = await openSession(model, { backend });
    const predictions = await session.predict(['a fine film', { text: 'dull' }]);
    for (const { label, scores } of predictions) {
      expect(['negative', 'positive']).toContain(label);
      expect(scores!.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    }
    await session.dispose();
  });

  it('continue texts', async () => {
    const model = await loadModel(stories!, { task: causalLm() });
    const writer = await openWriter(model, { backend });
    const [completion] = await writer.generate(['Once upon a time, there was'], { maxNewTokens: 12 }).result();
    expect(completion!.text).toContain('a little girl');
    await writer.dispose();
  });

  it('say what to use for a task that does not predict', async () => {
    const model = await loadModel(stories!, { task: causalLm() });
    await expect(openSession(model, { backend })).rejects.toThrow(/openWriter/);
  });
});
