import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { f32, type Tensor } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { dare, linear, mergeRecipe, mergeTensors, modelStock, readRecipe, sce, slerp, ties } from '../src/index.js';
import { type Settings, settingFor, settingsFor } from '../src/recipe/settings.js';
import { numbers, readModel, shapesOf, temporary, writeModel } from './models.js';

describe('settings', () => {
  it.each([
    [0, 0],
    [0.25, 0.25],
    [0.5, 0.5],
    [0.75, 0.4],
    [1, 0.3],
  ])('a list of numbers at depth %d is %d', (t, value) => {
    expect(settingFor([0, 0.5, 0.3], 'w', t)).toBeCloseTo(value, 12);
  });

  it('other lists change in steps', () => {
    expect([0, 0.49, 0.5, 1].map((t) => settingFor(['a', 'b', 'c'], 'w', t))).toEqual(['a', 'a', 'b', 'c']);
  });

  it('the first condition that fits counts, by a part of the name', () => {
    const setting = [{ filter: 'self_attn', value: [0, 1] }, { filter: 'mlp', value: 0.2 }, { value: 0.5 }];
    const at = (name: string, t: number) => settingFor(setting, name, t);
    expect(at('model.layers.3.self_attn.q_proj.weight', 0.5)).toBe(0.5);
    expect(at('model.layers.3.mlp.up_proj.weight', 1)).toBe(0.2);
    expect(at('model.norm.weight', 0)).toBe(0.5);
    expect(settingFor([{ filter: 'mlp', value: 1 }], 'model.norm.weight', 0)).toBeUndefined();
  });

  it('the nearest level that has a value wins', () => {
    const levels: Settings[] = [{ weight: [{ filter: 'mlp', value: 1 }] }, { weight: 0.5, density: 0.2 }];
    expect(settingsFor(levels, 'mlp.weight', 0)).toEqual({ weight: 1, density: 0.2 });
    expect(settingsFor(levels, 'norm.weight', 0)).toEqual({ weight: 0.5, density: 0.2 });
  });
});

describe('reading', () => {
  it('understands what mergekit writes', () => {
    const text = `
merge_method: ties
base_model: ./base
models:
  - model: ./a
    parameters: { weight: 0.5, density: [0.2, 0.8] }
  - model: { model: { path: ./b }, lora: { path: ./l } }
    parameters: { weight: { filter: mlp, value: 0.3 } }
parameters: { normalize: true, int8_mask: true }
dtype: float32
out_dtype: bfloat16
tokenizer_source: base
`;
    expect(readRecipe(text)).toEqual({
      method: 'ties',
      base: { path: './base' },
      models: [
        { model: { path: './a' }, parameters: { weight: 0.5, density: [0.2, 0.8] } },
        { model: { path: './b', adapter: './l' }, parameters: { weight: { filter: 'mlp', value: 0.3 } } },
      ],
      parameters: { normalize: true, int8_mask: true },
      outDtype: 'bf16',
      tokenizer: 'base',
    });
  });

  it('refuses by name everything that is not done', async () => {
    const text = `
merge_method: linear
modules: { text_decoder: { models: [] } }
chat_template: chatml
tokenizer: { source: union, pad_to_multiple_of: 8 }
dtype: float64
models: [{ model: ./a, revision: main }]
`;
    const error = await expectPeftError(() => readRecipe(text), ['CONFIG_UNSUPPORTED'], ['dtype']);
    for (const key of ['modules', 'chat_template', 'tokenizer', 'models.0.revision'])
      expect(error.message).toContain(key);
  });

  it.each([
    ['models: [{ model: a }]', 'merge_method'],
    ['merge_method: linear', 'models or slices'],
    ['merge_method: linear\nmodels: [{ model: a@main }]', 'revision'],
    ['merge_method: linear\n  models: [', 'YAML'],
    [
      'slices: [{ sources: [{ model: a, layer_range: [0, 2] }, { model: b, layer_range: [0, 3] }] }]\nmerge_method: slerp',
      '2 and 3 layers',
    ],
  ])('%s is a mistake', async (text, mention) => {
    await expectPeftError(() => readRecipe(text), ['CONFIG_INVALID'], [mention]);
  });

  it('several documents and unknown parameters are not done', async () => {
    const two = 'merge_method: linear\nmodels: [{ model: a }]\n---\nmerge_method: linear\nmodels: [{ model: b }]';
    await expectPeftError(() => readRecipe(two), ['CONFIG_UNSUPPORTED'], ['2 documents']);
    const path = await writeModel('a', numbers(1));
    const recipe = readRecipe(`merge_method: linear\nmodels: [{ model: ${path} }]\nparameters: { sharpness: 2 }`);
    const run = () => mergeRecipe(recipe, { output: temporary('no') }).result();
    await expectPeftError(run, ['CONFIG_UNSUPPORTED'], ['sharpness', 'normalize']);
    const unknown = readRecipe(`merge_method: magic\nmodels: [{ model: ${path} }]`);
    await expectPeftError(() => mergeRecipe(unknown), ['CONFIG_UNSUPPORTED'], ['magic', 'ties']);
  });
});

const base = numbers(1, shapesOf(3));
const [a, b] = [2, 3].map((seed) => numbers(seed, shapesOf(3), base)) as [Map<string, Tensor>, Map<string, Tensor>];
const values = (tensor: Tensor | undefined) => [...(tensor!.data as Float32Array)];

describe('merging by a recipe', () => {
  it('dare_ties is dare with a consensus; weights and densities belong to models', async () => {
    const [start, x, y] = [await writeModel('base', base), await writeModel('a', a), await writeModel('b', b)];
    const output = temporary('out');
    const recipe = readRecipe(`
merge_method: dare_ties
base_model: ${start}
models:
  - { model: ${start} }
  - { model: ${x}, parameters: { weight: 0.6, density: 0.5 } }
  - { model: ${y}, parameters: { weight: 0.4 } }
parameters: { density: 0.8 }
`);
    await mergeRecipe(recipe, { output, seed: 3 }).result();
    const wanted = mergeTensors(dare, {
      base,
      models: [a, b],
      ids: ['a', 'b'],
      weights: [0.6, 0.4],
      parameters: { density: 0.8, consensus: 'total' },
      each: [{ density: 0.5 }, undefined],
      seed: 3,
    });
    for (const [name, tensor] of await readModel(output))
      expect(values(tensor), name).toEqual(values(wanted.get(name)));
  });

  it('gradients and filters: each tensor with its own t', async () => {
    const [x, y] = [await writeModel('a', a), await writeModel('b', b)];
    const output = temporary('out');
    const recipe = readRecipe(`
merge_method: slerp
base_model: ${x}
models: [{ model: ${x} }, { model: ${y} }]
parameters:
  t:
    - { filter: self_attn, value: [0, 0.5, 1] }
    - { value: 0.25 }
`);
    await mergeRecipe(recipe, { output }).result();
    const got = await readModel(output);
    const at = (t: number, name: string) =>
      values(
        mergeTensors(slerp, {
          base: new Map([[name, a.get(name)!]]),
          models: [new Map([[name, b.get(name)!]])],
          parameters: { t },
        }).get(name),
      );
    for (const [layer, t] of [0, 0.5, 1].entries()) {
      const name = `model.layers.${layer}.self_attn.q_proj.weight`;
      expect(values(got.get(name)), name).toEqual(at(t, name));
    }
    expect(values(got.get('model.norm.weight'))).toEqual(at(0.25, 'model.norm.weight'));
  });

  it('slices: layers of several models one on the other', async () => {
    const config = { num_hidden_layers: 3, layer_types: ['x', 'y', 'z'] };
    const [x, y] = [await writeModel('a', a, { config }), await writeModel('b', b)];
    const output = temporary('out');
    const recipe = readRecipe(`
merge_method: passthrough
slices:
  - sources: [{ model: ${x}, layer_range: [0, 2] }]
  - sources: [{ model: ${y}, layer_range: [1, 3] }]
`);
    await mergeRecipe(recipe, { output }).result();
    const got = await readModel(output);
    const rest = 'mlp.up_proj.weight';
    const origin: [number, Map<string, Tensor>, number][] = [
      [0, a, 0],
      [1, a, 1],
      [2, b, 1],
      [3, b, 2],
    ];
    for (const [layer, model, from] of origin)
      expect(values(got.get(`model.layers.${layer}.${rest}`))).toEqual(
        values(model.get(`model.layers.${from}.${rest}`)),
      );
    expect(values(got.get('model.embed_tokens.weight'))).toEqual(values(a.get('model.embed_tokens.weight')));
    expect(values(got.get('model.norm.weight'))).toEqual(values(b.get('model.norm.weight')));
    const written = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'));
    expect(written).toMatchObject({ num_hidden_layers: 4, layer_types: ['x', 'y', 'y', 'z'] });
  });

  it('slices with a base merge the layers at the same place', async () => {
    const [start, x] = [await writeModel('base', base), await writeModel('a', a)];
    const output = temporary('out');
    const recipe = readRecipe(`
merge_method: ties
base_model: ${start}
slices:
  - sources:
      - { model: ${start}, layer_range: [0, 3] }
      - { model: ${x}, layer_range: [0, 3], parameters: { weight: 1 } }
parameters: { density: 0.5 }
`);
    await mergeRecipe(recipe, { output }).result();
    const wanted = mergeTensors(ties, { base, models: [a], parameters: { density: 0.5 } });
    for (const [name, tensor] of await readModel(output))
      expect(values(tensor), name).toEqual(values(wanted.get(name)));
  });

  it('a checkpoint with an adapter in it', async () => {
    const x = await writeModel('a', a);
    const { path, tensors } = {
      path: temporary('delta.safetensors'),
      tensors: new Map([['model.norm.weight', f32([12], new Float32Array(12).fill(2))]]),
    };
    const { writeSafetensors, tensorRef } = await import('@peftjs/core');
    const refs = new Map([...tensors].map(([name, tensor]) => [name, tensorRef(tensor)]));
    await writeSafetensors(path, refs, { metadata: new Map([['peftjs', 'delta 1']]) });
    const output = temporary('out');
    const recipe = readRecipe(`merge_method: linear\nmodels: [{ model: ${x}+${path} }, { model: ${x} }]`);
    await mergeRecipe(recipe, { output }).result();
    const name = 'model.norm.weight';
    const moved = new Map(a).set(
      name,
      f32(
        [12],
        (a.get(name)!.data as Float32Array).map((v) => v + 2),
      ),
    );
    const wanted = mergeTensors(linear, { models: [moved, a] });
    expect(values((await readModel(output)).get(name))).toEqual(values(wanted.get(name)));
  });

  it('is the same, to the byte, with threads', async () => {
    const [start, x, y] = [await writeModel('base', base), await writeModel('a', a), await writeModel('b', b)];
    const recipe = readRecipe(
      `merge_method: della\nbase_model: ${start}\nmodels: [{ model: ${x} }, { model: ${y} }]\nparameters: { density: 0.5 }`,
    );
    const digests = [];
    for (const threads of [0, 2]) {
      const output = temporary('out');
      await mergeRecipe(recipe, { output, threads }).result();
      digests.push(
        createHash('sha256')
          .update(readFileSync(join(output, 'model.safetensors')))
          .digest('hex'),
      );
    }
    expect(digests[1]).toBe(digests[0]);
  });
});

describe("mergekit's definitions in a recipe", () => {
  /** Merges two small, opposed fine-tunes of one vector. */
  const merged = async (method: string, parameters = '') => {
    const base = new Map<string, Tensor>([['w', f32([3], [1, -1, 0.5])]]);
    const tuned = (delta: readonly number[]) =>
      new Map<string, Tensor>([
        [
          'w',
          f32(
            [3],
            delta.map((x, i) => [1, -1, 0.5][i]! + x),
          ),
        ],
      ]);
    const [a, b] = [tuned([2 ** -12, 2 ** -13, 0]), tuned([-(2 ** -12), 2 ** -13, 2 ** -14])];
    const [start, one, two] = [await writeModel('base', base), await writeModel('a', a), await writeModel('b', b)];
    const text = `merge_method: ${method}\nbase_model: ${start}\nmodels: [{ model: ${one} }, { model: ${two} }]\n${parameters}`;
    const output = temporary('out');
    await mergeRecipe(readRecipe(text), { output, threads: 0 }).result();
    return { got: (await readModel(output)).get('w')!, inputs: { base, models: [a, b] } };
  };

  it('does not clamp the ratio of model_stock and has a floor under norms', async () => {
    const { got, inputs } = await merged('model_stock');
    // Both norms are about 2.7e-4: their product is under the floor of 1e-6, so the cosine is -4.5e-2.
    const parameters = { clamp: false, normsAtLeast: 1e-6 };
    expect(got.data).toEqual(mergeTensors(modelStock, { ...inputs, parameters }).get('w')!.data);
    const cosine = (-(2 ** -24) + 2 ** -26) / 1e-6;
    const t = (2 * cosine) / (1 + cosine);
    expect(got.data[1]).toBe(Math.fround(-1 + t * 2 ** -13));
    const clamped = await merged('model_stock', 'parameters: { clamp: true }');
    expect(clamped.got.data).toEqual(inputs.base.get('w')!.data);
  });

  it('weighs small updates equally in sce', async () => {
    const { got, inputs } = await merged('sce');
    const equal = mergeTensors(sce, { ...inputs, parameters: { uniformBelow: 1e-6 } }).get('w')!;
    expect(got.data).toEqual(equal.data);
    const { got: weighed } = await merged('sce', 'parameters: { uniform_below: 0 }');
    expect(weighed.data).toEqual(mergeTensors(sce, inputs).get('w')!.data);
  });
});
