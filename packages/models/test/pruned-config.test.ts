import type { Target } from '@peftjs/core';
import { f32, tensorRef } from '@peftjs/core/tensor';
import { describe, expect, it } from 'vitest';
import { prunedConfig } from '../src/index.js';

const width = 8;
const headDim = 2;

/** A model of layers with so many heads, key heads and channels each. */
function model(layers: readonly { readonly heads: number; readonly kv: number; readonly channels: number }[]) {
  const parameters = new Map<string, ReturnType<typeof tensorRef>>();
  const targets = layers.flatMap(({ heads, kv, channels }, layer) =>
    (
      [
        ['query', heads * headDim],
        ['key', kv * headDim],
        ['up', channels],
      ] as const
    ).map(([role, out]): Target => {
      const path = `layers.${layer}.${role}`;
      const weight = tensorRef(f32([out, width], new Float32Array(out * width)));
      parameters.set(`${path}.weight`, weight);
      return {
        kind: 'linear',
        path,
        in: width,
        out,
        layer,
        role,
        heads: 4,
        kvHeads: 2,
        headDim,
        parameters: { weight },
      };
    }),
  );
  return { targets, parameters };
}

const base = { model_type: 'any', num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 16 };
const whole = { heads: 4, kv: 2, channels: 16 };

describe('the configuration of a pruned model', () => {
  it('is that of the base where nothing is gone', () => {
    expect(prunedConfig(base, model([whole, whole]))).toEqual(base);
    const { num_key_value_heads: _, ...without } = base;
    expect(prunedConfig(without, model([{ ...whole, kv: 4 }]))).toEqual(without);
  });

  it('says what all layers have under the names that readers know', () => {
    const less = { heads: 2, kv: 1, channels: 10 };
    const fixed = { ...base, head_dim: headDim };
    expect(prunedConfig(fixed, model([less, less]))).toEqual({
      ...fixed,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      intermediate_size: 10,
    });
  });

  it('keeps them and says each layer apart where they cannot say it', () => {
    const layers = [whole, { heads: 2, kv: 1, channels: 10 }];
    expect(prunedConfig(base, model(layers))).toEqual({
      ...base,
      peftjs_pruned: { intermediate_size: [16, 10], num_attention_heads: [4, 2], num_key_value_heads: [2, 1] },
    });
    // Heads are as wide as the configuration makes them where it gives no width.
    const alike = [layers[1]!, layers[1]!];
    expect(prunedConfig(base, model(alike))).toMatchObject({
      num_attention_heads: 4,
      intermediate_size: 10,
      peftjs_pruned: { num_attention_heads: [2, 2], num_key_value_heads: [1, 1] },
    });
  });
});
