import type { Target } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { architectures, findArchitecture } from '../src/architectures/index.js';
import { buildForm } from '../src/forms.js';
import { tinyConfigs } from './tiny-model.js';

/** The targets of the bare body; no weight is read. */
function targetsOf(config: { model_type: string }): Target[] {
  const architecture = findArchitecture(config.model_type);
  const task = { name: 'features', trainable: false, head: { name: 'features' } };
  const lookup = (_: string, shape: readonly number[]) =>
    ({ dtype: 'f32', shape, read: () => Promise.reject() }) as const;
  const { sites } = buildForm({ architecture, config: architecture.config(config), task, lookup, tied: {} }, 'predict');
  return [...sites.values()].map(({ target }) => target);
}

/** Channels that a role takes and gives, in heads. */
const extents: Partial<Record<NonNullable<Target['role']>, (t: Target) => [number, number]>> = {
  query: ({ out, heads, headDim }) => [out, heads! * headDim!],
  key: ({ out, kvHeads, headDim }) => [out, kvHeads! * headDim!],
  value: ({ out, kvHeads, headDim }) => [out, kvHeads! * headDim!],
  'query-key-value': ({ out, heads, kvHeads, headDim }) => [out, (heads! + 2 * kvHeads!) * headDim!],
  output: ({ in: inside, heads, headDim }) => [inside, heads! * headDim!],
};

describe('what couples the targets of a layer', () => {
  const families = { ...tinyConfigs, qwen2: { ...tinyConfigs.llama, model_type: 'qwen2' } };

  it('is tried on every architecture', () => {
    expect(Object.keys(families).sort()).toEqual(architectures.map(({ modelType }) => modelType).sort());
  });

  it.each(Object.values(families))('$model_type: layers, roles and heads', (config) => {
    const targets = targetsOf(config);
    for (const layer of [0, 1]) {
      const inLayer = targets.filter((target) => target.layer === layer);
      const byRole = new Map(inLayer.map((target) => [target.role!, target]));
      expect(byRole.size).toBe(inLayer.length);
      expect([...byRole.keys()]).toEqual(expect.arrayContaining(['output', 'up', 'down']));
      expect(byRole.has('query-key-value') || (byRole.has('query') && byRole.has('key') && byRole.has('value'))).toBe(
        true,
      );
      for (const [role, target] of byRole) {
        const [channels, counted] = extents[role]?.(target) ?? [0, 0];
        expect(channels).toBe(counted);
        if (!extents[role]) expect(target).not.toHaveProperty('heads');
      }
    }
  });

  it('a head has the size that the configuration says, not a share of the width', () => {
    const key = targetsOf(tinyConfigs.llama).find(({ path }) => path === 'layers.0.self_attn.k_proj');
    expect(key).toMatchObject({ layer: 0, role: 'key', heads: 4, kvHeads: 2, headDim: 6, in: 16, out: 12 });
  });
  it('a vision transformer has its modules under both names', () => {
    const aliases = new Map(targetsOf(tinyConfigs.vit).map(({ path, aliases }) => [path, aliases]));
    expect(aliases.get('layers.1.attention.q_proj')).toEqual(['encoder.layer.1.attention.attention.query']);
    expect(aliases.get('layers.0.mlp.fc2')).toEqual(['encoder.layer.0.output.dense']);
    expect([...aliases.values()].every((list) => list?.length === 1)).toBe(true);
    expect(targetsOf(tinyConfigs.bert).every((target) => !('aliases' in target))).toBe(true);
  });
});
