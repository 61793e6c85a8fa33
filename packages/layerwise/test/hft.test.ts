import { bindMethod, createRandom, type Target, type TrainEvent, toF32, train } from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { half, layersOf, shares } from '../src/hft/select.js';
import { type HftOptions, hft } from '../src/index.js';

const linear = (layer: number, name: string, role: Target['role']): Target => ({
  kind: 'linear',
  path: `model.layers.${layer}.${name}`,
  in: 4,
  out: 4,
  parameters: {},
  layer,
  role: role!,
});
const norm = (path: string): Target => ({ kind: 'vector', path, in: 4, out: 4, parameters: {} });

/** A model as large ones are, with four layers of seven matrices and two norms, a last norm and a head. */
const targets: Target[] = [
  ...[0, 1, 2, 3].flatMap((layer) => [
    linear(layer, 'attn.q', 'query'),
    linear(layer, 'attn.k', 'key'),
    linear(layer, 'attn.v', 'value'),
    linear(layer, 'attn.o', 'output'),
    linear(layer, 'mlp.gate', 'gate'),
    linear(layer, 'mlp.up', 'up'),
    linear(layer, 'mlp.down', 'down'),
    norm(`model.layers.${layer}.norm1`),
    norm(`model.layers.${layer}.norm2`),
  ]),
  norm('model.norm'),
  { ...linear(0, 'head', 'other'), path: 'head', head: true },
];

const up = 'model.layers.0.up';
const down = 'model.layers.0.down';

async function ran(options: HftOptions, steps = 4) {
  const run = train(tinyModel(), {
    method: hft({ targetModules: ['up', 'down', 'mix'], ...options }),
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.02,
    steps,
    batchSize: 12,
  });
  const events: TrainEvent[] = [];
  for await (const event of run) events.push(event);
  return { events, adapter: await run.result() };
}

describe('hft', () => {
  const selection = [['model.layers.0.up', 'model.layers.1.mix']];
  testMethod(hft, { config: { selection, save: 'change' }, startsChanged: false, seedless: true });
  testMethod(hft, { config: { ratio: 1, rounds: 2 }, seedless: true });

  it('takes half of every category in every layer, whole modules', () => {
    const chosen = half(targets, 0.5, createRandom(3));
    const count = (layer: number, part: string) =>
      [...chosen].filter((path) => path.startsWith(`model.layers.${layer}.${part}`)).length;
    const mlp = [0, 1, 2, 3].map((layer) => count(layer, 'mlp'));
    for (const layer of [0, 1, 2, 3]) {
      expect(count(layer, 'attn')).toBe(2);
      expect(count(layer, 'norm')).toBe(1);
    }
    expect([...mlp].sort()).toEqual([1, 1, 2, 2]);
    expect(chosen.size).toBe(4 * 3 + 6);
    expect([...half(targets, 0.5, createRandom(3))]).toEqual([...chosen]);
    expect([...half(targets, 0.5, createRandom(4))]).not.toEqual([...chosen]);
  });

  it('finds the layer of a norm, and leaves out what is in none', () => {
    const layers = layersOf(targets);
    expect(layers.map((own) => own.length)).toEqual([9, 9, 9, 9]);
    expect(layers[2]!.map(({ path }) => path)).toContain('model.layers.2.norm1');
    expect(layers.flat().map(({ path }) => path)).not.toContain('model.norm');
    expect(shares(4, 3, 1, createRandom(0))).toEqual([3, 3, 3, 3]);
  });

  it('the next round goes on from the last with another choice, and keeps what was trained before', async () => {
    const one = await ran({ selection: [[up]] }, 2);
    const two = await ran({ selection: [[up], [down]] }, 4);
    expect(two.events.filter(({ type }) => type === 'phase')).toEqual([{ type: 'phase', step: 2, phase: 'round 2' }]);
    expect([...two.adapter.replaced.keys()].sort()).toEqual(
      [`${down}.bias`, `${down}.weight`, `${up}.bias`, `${up}.weight`].sort(),
    );
    const numbers = async (adapter: typeof one.adapter, path: string) =>
      toF32(await adapter.replaced.get(path)!.read()).data;
    expect(await numbers(two.adapter, `${up}.weight`)).toEqual(await numbers(one.adapter, `${up}.weight`));
    const base = toF32(await tinyModel().parameters.get(`${down}.weight`)!.read()).data;
    expect(await numbers(two.adapter, `${down}.weight`)).not.toEqual(base);
  });

  it('refuses a selection of other models, and a ratio that leaves nothing', async () => {
    await expect(ran({ selection: [['model.layers.9.up']] })).rejects.toThrow(
      /names model\.layers\.9\.up, which are no/,
    );
    await expect(ran({ targetModules: ['up'], ratio: 0.1 } as HftOptions)).rejects.toThrow(/raise ratio/);
    await expect(ran({ selection: [[up], ['nope'], ['no', up]] })).rejects.toMatchObject({
      code: 'TARGETS_UNMATCHED',
      message: expect.stringMatching(/round 2 of selection names nope,.*round 3 of selection names no,/s),
    });
    expect(() => hft({ rounds: 3, selection: [[up], [down]] })).toThrow(/rounds: is said by selection/);
    expect(() => bindMethod(hft({ bias: 'all' }), tinyModel())).toThrow(/with their biases: leave bias out/);
    expect(() => hft({ ratio: 0 })).toThrow(/ratio/);
    const bind = () => bindMethod(hft({ targetModules: ['model.embed'] }), tinyModel());
    expect(bind).toThrow(/of kind embedding/);
  });
});
