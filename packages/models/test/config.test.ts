import { isPeftError, type PeftError } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { findArchitecture } from '../src/architectures/index.js';
import { modelConfig } from '../src/config.js';
import { tinyConfigs } from './tiny-model.js';

function failure(run: () => unknown): PeftError {
  try {
    run();
  } catch (error) {
    if (isPeftError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

const llama = findArchitecture('llama');
const bert = findArchitecture('bert');

describe('config.json', () => {
  it('reads the rotary base where transformers 5 and where older versions write it', () => {
    const older = llama.config({ ...tinyConfigs.llama, rope_theta: 5000 });
    const { rope_theta: _, ...rest } = tinyConfigs.llama;
    const newer = llama.config({ ...rest, rope_parameters: { rope_type: 'default', rope_theta: 5000 } });
    expect(newer).toEqual(older);
    expect(newer).toMatchObject({ ropeTheta: 5000, headDim: 6, kvHeads: 2 });
    expect(llama.config(rest)).toMatchObject({ ropeTheta: 10_000 });
  });

  it('derives the width of heads and takes as many key heads as query heads where none are given', () => {
    const { head_dim: _, num_key_value_heads: __, ...rest } = tinyConfigs.llama;
    expect(llama.config(rest)).toMatchObject({ headDim: 4, kvHeads: 4 });
  });

  it('knows the biases of Qwen2, which its file does not mention', () => {
    const config = findArchitecture('qwen2').config({ ...tinyConfigs.llama, model_type: 'qwen2' });
    expect(config).toMatchObject({ qkvBias: true, outputBias: false });
  });

  it('names every feature that is not built', () => {
    const scaled = { ...tinyConfigs.llama, rope_scaling: { rope_type: 'llama3' }, hidden_act: 'xielu' };
    const error = failure(() => llama.config({ ...scaled, layer_types: ['full_attention', 'sliding_attention'] }));
    expect(error.code).toBe('MODEL_UNSUPPORTED');
    for (const part of ['"llama3"', '"xielu"', '"sliding_attention"']) expect(error.message).toContain(part);
    const relative = failure(() => bert.config({ ...tinyConfigs.bert, position_embedding_type: 'relative_key' }));
    expect(relative.message).toContain('position_embedding_type "relative_key"');
  });

  it('ignores a window that is not in use', () => {
    const off = { ...tinyConfigs.llama, model_type: 'qwen2', sliding_window: 8, use_sliding_window: false };
    expect(findArchitecture('qwen2').config(off)).toMatchObject({ layers: 2 });
    const on = { ...off, use_sliding_window: true, max_window_layers: 1 };
    expect(failure(() => findArchitecture('qwen2').config(on)).message).toContain('sliding_attention');
  });

  it('lists every wrong field', () => {
    const error = failure(() => llama.config({ ...tinyConfigs.llama, hidden_size: '16', num_hidden_layers: -1 }));
    expect(error.code).toBe('FILE_INVALID');
    expect(error.message).toContain('hidden_size');
    expect(error.message).toContain('num_hidden_layers');
  });

  it('names the architectures there are', () => {
    const error = failure(() => findArchitecture('mamba'));
    expect(error.code).toBe('MODEL_UNSUPPORTED');
    expect(error.message).toMatch(/"mamba".*bert.*llama/);
  });

  it('prefers the ids of generation_config.json', () => {
    const config = modelConfig(tinyConfigs.llama, { eos_token_id: [2, 5] });
    expect(config).toMatchObject({ eosIds: [2, 5], bosId: 1, initializerRange: 0.02, maxPositions: 64 });
    expect(modelConfig(tinyConfigs.llama).eosIds).toEqual([2]);
  });

  it('reads labels in the order of their numbers', () => {
    const config = modelConfig({ ...tinyConfigs.bert, id2label: { '1': 'good', '0': 'bad' } });
    expect(config.labels).toEqual(['bad', 'good']);
  });
});
