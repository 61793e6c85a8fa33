import {
  type Bound,
  baseLook,
  bindMethod,
  encodeAdapter,
  isPeftError,
  readAdapter,
  resumeTensors,
  settlePlan,
  startTensors,
  type Target,
  type Tensor,
  toAdapter,
} from '@peftjs/core';
import { memorySource, openSafetensors } from '@peftjs/core/files';
import { testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { ia3 } from '../src/index.js';
import { sideOf } from '../src/side.js';

describe('ia3', () => {
  testMethod(ia3, { seedless: true, config: { targetModules: ['up', 'down', 'mix'] } });
  testMethod(ia3, { seedless: true, config: { feedforwardModules: ['mix'] } });
  testMethod(ia3, { seedless: true, config: { feedforwardModules: '.*(down|mix)' } });
  testMethod(ia3, { seedless: true, config: { feedforwardModules: [] } });
});

const floats = (tensor: Tensor): number[] => [...(tensor.data as Float32Array)];

/** Laid out on the tiny model. */
async function laidOut(
  options: Parameters<typeof ia3>[0],
  model: Pick<ReturnType<typeof tinyModel>, 'targets' | 'parameters'> = tinyModel(),
) {
  const bound = ia3(options) as unknown as Bound;
  const plan = bindMethod(bound, model);
  return settlePlan(plan, baseLook({ plan, parameters: model.parameters, seed: 0 }));
}

async function refusal(made: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await made.then(
    () => expect.unreachable(),
    (reason: unknown) => reason,
  );
  expect(isPeftError(error)).toBe(true);
  return error as { code: string; message: string };
}

describe('places', () => {
  const target = (role: Target['role']): Target =>
    ({ kind: 'linear', path: 'h.0.x', in: 4, out: 6, parameters: {}, ...(role && { role }) }) as Target;

  it("are the paper's by default: outputs of keys and values, inputs of the last feed-forward layer", () => {
    const roles = ['key', 'value', 'query-key-value', 'down', 'query', 'output', 'up', 'gate', 'other'] as const;
    expect(roles.map((role) => sideOf(target(role), {}))).toEqual([
      'output',
      'output',
      'output',
      'input',
      ...new Array(5).fill(undefined),
    ]);
  });

  it('follow feedforwardModules where it is given, by any name of the module', () => {
    const named = { ...target('query'), aliases: ['layers.0.w2'] };
    expect(sideOf(named, { feedforwardModules: ['w2'] })).toBe('input');
    expect(sideOf(named, { feedforwardModules: 'h\\..*' })).toBe('input');
    expect(sideOf(named, { feedforwardModules: 'h' })).toBe('output');
  });

  it('take a vector each: as long as what it multiplies', async () => {
    const paper = await laidOut({ targetModules: ['up', 'down', 'mix'] });
    expect([paper.sites.map(({ target }) => target.path), paper.size]).toEqual([['model.layers.0.down'], 8]);
    const all = await laidOut({ targetModules: ['up', 'down', 'mix'], feedforwardModules: ['mix'] });
    expect(all.size).toBe(
      all.sites.reduce((sum, { target }) => sum + (target.kind === 'conv1d' ? target.in : target.out), 0),
    );
    expect(plugin.methods).toEqual([ia3]);
  });
});

describe('bad input', () => {
  it('refuses trained biases and dropout, at once', async () => {
    const { code, message } = await refusal(laidOut({ targetModules: ['down'], bias: 'all', dropout: 0.1 }));
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain('leave bias "all" out');
    expect(message).toContain('leave dropout out');
  });

  it('names entries that match no target', async () => {
    const { code, message } = await refusal(
      laidOut({ targetModules: ['up'], feedforwardModules: ['down', 'up', 'w2'] }),
    );
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain('"down", "w2"');
    expect(message).not.toContain('"up"');
  });

  it('refuses an expression that is none', async () => {
    expect(await refusal(laidOut({ targetModules: ['up'], feedforwardModules: '(' }))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  it("says which roles there are where none is the paper's", async () => {
    const { code, message } = await refusal(laidOut({ targetModules: ['up', 'mix'] }));
    expect(code).toBe('TARGETS_UNMATCHED');
    expect(message).toContain('theirs are up, other');
  });

  it('refuses other kinds of modules', async () => {
    expect(await refusal(laidOut({ targetModules: ['embed'], feedforwardModules: [] }))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  it('refuses to train on what scaled the other side', async () => {
    const { parameters } = tinyModel();
    const [mine, theirs] = [
      await laidOut({ targetModules: ['down'] }),
      await laidOut({ targetModules: ['down'], feedforwardModules: [] }),
    ];
    const adapter = await toAdapter(theirs, await startTensors(theirs, { seed: 0, parameters }), { parameters });
    const { code, message } = await refusal(resumeTensors(mine, adapter, { seed: 0, parameters }));
    expect(code).toBe('ADAPTER_MISMATCH');
    expect(message).toContain('a scaling of its outputs');
  });
});

describe('the file', () => {
  it('is that of PEFT: columns of outputs, rows of inputs, and which is which', async () => {
    const model = tinyModel();
    const { parameters } = model;
    const plan = await laidOut({ targetModules: ['up', 'down', 'mix'], feedforwardModules: ['down'] });
    const adapter = await toAdapter(plan, await startTensors(plan, { seed: 0, parameters }), { parameters });
    const { layout, files } = await encodeAdapter(adapter);
    const at = (name: string) => memorySource(files.get(name)!, name);
    const weights = at('adapter_model.safetensors');
    const read = await readAdapter({ config: at('adapter_config.json'), weights }, { base: model });
    expect(layout).toBe('IA3');
    expect(read.peft).toMatchObject({
      peft_type: 'IA3',
      feedforward_modules: ['model.layers.0.down'],
      target_modules: ['model.layers.0.down', 'model.layers.0.up', 'model.layers.1.mix'],
      fan_in_fan_out: true,
    });
    const { tensors } = await openSafetensors(weights);
    expect(
      [...tensors].map(([name, { shape }]) => [name.replace('base_model.model.model.layers.', ''), shape]),
    ).toEqual([
      ['0.down.ia3_l', [1, 8]],
      ['0.up.ia3_l', [8, 1]],
      ['1.mix.ia3_l', [8, 1]],
    ]);
    const [term] = read.delta.params.get('model.layers.0.down.weight')!;
    expect([term!.meta.side, floats(await term!.tensors.vector!.read())]).toEqual(['input', new Array(8).fill(1)]);
  });
});
