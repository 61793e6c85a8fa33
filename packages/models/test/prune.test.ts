import { attachDelta, bindMethod, type TensorRef, toF32, train } from '@peftjs/core';
import { f32, type Tensor, tensorRef } from '@peftjs/core/tensor';
import { lora } from '@peftjs/lora';
import { expectClose, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import {
  causalLm,
  generate,
  loadModel,
  type Model,
  openDecoder,
  prunedParameters,
  type Removed,
  sequenceClassification,
} from '../src/index.js';
import { tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

type Parameters = ReadonlyMap<string, TensorRef>;

const ids = (length: number, from: number) => Array.from({ length }, (_, i) => 3 + ((from + i * 5) % 37));

interface Family {
  readonly head: string;
  task(): unknown;
  example(length: number, i: number): object;
}

const families: Readonly<Record<'llama' | 'bert', Family>> = {
  llama: {
    head: 'causal-lm',
    task: () => causalLm(),
    example: (n, i) => ({ length: n, ids: ids(n, i), from: 1 }),
  },
  bert: {
    head: 'sequence-classification',
    task: () => sequenceClassification({ labels: ['a', 'b', 'c'] }),
    example: (n, i) => ({ length: n, ids: ids(n, i), typeIds: ids(n, 0).map(() => 0), label: i % 3 }),
  },
};
type Name = keyof typeof families;

const open = async (family: Name, weights: Parameters): Promise<Model> =>
  (await loadModel(await writeTinyModel(tinyConfigs[family], weights), {
    task: families[family].task() as never,
  })) as Model;

const tiny = (family: Name) => open(family, tinyWeights(tinyConfigs[family], families[family].head));

/** Layers unlike each other: one keeps all heads, the other all channels but one. */
const removed: ReadonlyMap<number, Removed> = new Map([
  [0, { heads: [1], channels: [22] }],
  [1, { channels: [0, 5, 23] }],
]);

/** What leaves the removed heads and channels is zero: their columns of output and down are. */
async function silenced({ targets, parameters }: Model): Promise<Parameters> {
  const all = new Map(parameters);
  for (const { role, layer, path, in: width, kvHeads } of targets) {
    if (role !== 'output' && role !== 'down') continue;
    const gone = removed.get(layer!)!;
    const units = role === 'output' ? { out: gone.heads, size: width / kvHeads! } : { out: gone.channels, size: 1 };
    const weight = toF32(await parameters.get(`${path}.weight`)!.read());
    const data = (weight.data as Float32Array).map((x, i) =>
      units.out?.includes(Math.floor((i % width) / units.size)) ? 0 : x,
    );
    all.set(`${path}.weight`, tensorRef(f32(weight.shape, data)));
  }
  return all;
}

async function logitsOf(family: Name, model: Model, form = model.graph('predict')): Promise<Tensor> {
  const { example } = families[family];
  const examples = [9, 3, 5].map(example);
  const batch = model.task.batch(examples as never, [...examples.keys()]);
  const { feeds } = batch;
  const program = await referenceBackend().compile(form.graph, { outputs: [form.outputs.logits!.name] });
  const inputs = new Set(form.graph.inputs.map(({ name }) => name));
  const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => inputs.has(name)));
  return (await program.run(given))[form.outputs.logits!.name]!;
}

describe.each(Object.keys(families) as Name[])('a pruned %s', (family) => {
  it('computes what the whole model does with those heads and channels silenced, by smaller layers', async () => {
    const whole = await tiny(family);
    const small = await open(family, prunedParameters(whole, removed));
    const expected = await logitsOf(family, await open(family, await silenced(whole)));
    // 1e-6: the same products without those that are zero.
    expectClose('logits', await logitsOf(family, small), expected, { relToMax: 1e-6 });

    const sizes = ({ targets }: Model) =>
      targets.filter(({ layer }) => layer !== undefined).map((t) => [t.layer, t.role, t.out, t.in]);
    expect(sizes(small)).not.toEqual(sizes(whole));
    expect(
      sizes(small).filter(([layer, role]) => layer === 1 && role !== 'up' && role !== 'down' && role !== 'gate'),
    ).toEqual(
      sizes(whole).filter(([layer, role]) => layer === 1 && role !== 'up' && role !== 'down' && role !== 'gate'),
    );
    const numbers = (model: Model) =>
      [...model.parameters.values()].reduce((n, { shape }) => n + shape.reduce((p, d) => p * d, 1), 0);
    expect(numbers(small)).toBeLessThan(numbers(whole));
  });

  it('is trained on like any other', async () => {
    const small = await open(family, prunedParameters(await tiny(family), removed));
    const method = lora({ r: 2, targetModules: 'all-linear' });
    expect(bindMethod(method, small).sites.length).toBeGreaterThan(8);
    const { example } = families[family];
    const run = train(
      { ...small, task: { ...small.task, encode: (row: unknown) => row as never } },
      {
        method,
        data: [9, 3, 5, 4].map(example) as never,
        backend: referenceBackend(),
        lr: 0.01,
        steps: 3,
        batchSize: 4,
        schedule: 'constant',
      },
    );
    const losses: number[] = [];
    for await (const event of run) if (event.type === 'step') losses.push(event.loss);
    expect(losses[2]).toBeLessThan(losses[0]!);
    const form = await attachDelta(small.graph('predict'), await run.result(), { parameters: small.parameters });
    expect((await logitsOf(family, small, form)).data.every(Number.isFinite as never)).toBe(true);
  });
});

describe('pruning', () => {
  it('decodes with a cache whose layers have different numbers of heads', async () => {
    const whole = await tiny('llama');
    const small = await open('llama', prunedParameters(whole, removed));
    expect(whole.cache).toMatchObject({ kvHeads: 2 });
    expect(small.cache).toMatchObject({ kvHeads: [1, 2] });
    const texts: (readonly number[])[][] = [];
    for (const model of [small, await open('llama', await silenced(whole))]) {
      const decoder = await openDecoder(model, { backend: referenceBackend() });
      const options = { prompts: [ids(70, 1), ids(3, 2), ids(5, 4)], maxNewTokens: 8, stopIds: [] };
      const completions = await generate(decoder, options).result();
      texts.push(completions.map((completion) => completion.ids));
      await decoder.dispose();
    }
    expect(texts[0]).toEqual(texts[1]);
  });

  it('says everything that cannot be removed', async () => {
    const model = await tiny('llama');
    const wrong = new Map<number, Removed>([
      [0, { heads: [0, 1], channels: [24] }],
      [7, { heads: [0] }],
    ]);
    expect(() => prunedParameters(model, wrong)).toThrow(
      /q_proj" would lose all of its 2 heads[\s\S]*up_proj" has 24 channels, there is no 24[\s\S]*there is no layer 7/,
    );
    const gpt2 = await loadModel(await writeTinyModel(tinyConfigs.gpt2, tinyWeights(tinyConfigs.gpt2, 'causal-lm')), {
      task: causalLm(),
    });
    expect(() => prunedParameters(gpt2, removed)).toThrow(
      /c_attn" cannot lose heads or channels: its query, key and value/,
    );
  });

  it('refuses a checkpoint whose layers do not go together', async () => {
    const whole = await tiny('llama');
    const pruned = prunedParameters(whole, removed);
    const path = 'model.layers.0.mlp.gate_proj.weight';
    const mixed = new Map([...pruned, [path, whole.parameters.get(path)!]]);
    await expect(open('llama', mixed)).rejects.toThrow(
      /gate_proj.weight" has shape \[24,16\], the configuration makes it \[23,16\]/,
    );
  });
});
