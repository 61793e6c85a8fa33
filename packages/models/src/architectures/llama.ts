import type { ShapedValue } from '@peftjs/core/graph';
import { activations } from './activations.js';
import { type Architecture, type BuildOptions, cacheDims, cacheNames, defineArchitecture } from './architecture.js';
import { attention, type Past, splitHeads } from './attention.js';
import { attentionBias, type Grid, narrow, pastBias, type Reads, readInputs, tokenInputs } from './grid.js';
import { type LlamaConfig, llamaConfig } from './llama-config.js';
import { embedding, linear, type Net, rmsNorm } from './net.js';
import { pool } from './pooling.js';
import { type Rotation, rotation } from './rotary.js';

/** What a layer's attention needs to know of the tokens that ask. */
interface Asking {
  readonly grid: Grid;
  readonly rotation: Rotation;
  readonly bias: ShapedValue;
}

interface Body {
  readonly hidden: ShapedValue;
  readonly grid: Grid;
  readonly outputs: Record<string, ShapedValue>;
}

/** The decoder without a head (Llama 2, https://arxiv.org/abs/2307.09288): pre-norm, rotary positions, SwiGLU. */
function body(net: Net, c: LlamaConfig, prefix: string, options: BuildOptions): Body {
  const { ids, grid } = tokenInputs(net);
  const reads = options.read ? readInputs(net, grid) : undefined;
  const past = options.cache ? net.ops.input('past_mask', 'i64', ['batch', 'past']) : undefined;
  const hide = past && pastBias(net, past);
  const asking = (of: Grid): Asking => ({
    grid: of,
    rotation: rotation(net, of, c.headDim, c.ropeTheta),
    bias: attentionBias(net, of, grid, true),
  });
  const everyone = asking(grid);
  const last = reads ? asking(reads.grid) : everyone;

  const outputs: Record<string, ShapedValue> = {};
  let h = embedding(net, `${prefix}embed_tokens`, ids, c.vocabSize, c.hiddenSize);
  if (options.hiddenStates) outputs['hidden_states.0'] = h;
  for (let layer = 0; layer < c.layers; layer++) {
    const final = layer === c.layers - 1;
    h = decoderLayer(net, c, `${prefix}layers.${layer}`, layer, h, everyone, final ? last : everyone, {
      ...(final && reads && { reads }),
      ...(hide && { hide }),
      outputs,
    });
    if (options.hiddenStates && !final) outputs[`hidden_states.${layer + 1}`] = h;
  }
  h = rmsNorm(net, `${prefix}norm`, h, c.hiddenSize, c.rmsNormEps);
  if (options.hiddenStates) outputs[`hidden_states.${c.layers}`] = h;
  return { hidden: h, grid, outputs };
}

interface LayerExtras {
  readonly reads?: Reads;
  readonly hide?: ShapedValue;
  readonly outputs: Record<string, ShapedValue>;
}

/** h [batch*length, hidden] -> the rows of the asking grid. Keys and values are those of `all` tokens. */
function decoderLayer(
  net: Net,
  c: LlamaConfig,
  path: string,
  layer: number,
  h: ShapedValue,
  all: Asking,
  asking: Asking,
  extras: LayerExtras,
): ShapedValue {
  const { ops } = net;
  const { hiddenSize: d, heads, kvHeads, headDim } = c;
  const at = `${path}.self_attn`;
  const x = rmsNorm(net, `${path}.input_layernorm`, h, d, c.rmsNormEps);
  const project = (name: string, role: 'query' | 'key' | 'value', from: ShapedValue, out: number) =>
    linear(net, `${at}.${name}`, from, { in: d, out, bias: c.qkvBias, layer, role });
  const turn = (y: ShapedValue, of: Asking, n: number) =>
    ops.rotary(splitHeads(net, y, of.grid, n, headDim), of.rotation.cos, of.rotation.sin);

  const query = project('q_proj', 'query', narrow(net, x, extras.reads), heads * headDim);
  const q = turn(ops.mul(query, 1 / Math.sqrt(headDim)), asking, heads);
  const k = turn(project('k_proj', 'key', x, kvHeads * headDim), all, kvHeads);
  const v = splitHeads(net, project('v_proj', 'value', x, kvHeads * headDim), all.grid, kvHeads, headDim);
  const past = extras.hide && cached(net, c, layer, k, v, extras.hide, extras.outputs);
  const context = attention(net, q, k, v, {
    heads,
    kvHeads,
    headDim,
    queries: asking.grid,
    bias: asking.bias,
    ...(past && { past }),
  });
  const o = linear(net, `${at}.o_proj`, context, {
    in: heads * headDim,
    out: d,
    bias: c.outputBias,
    layer,
    role: 'output',
  });
  const r = ops.add(narrow(net, h, extras.reads), o);

  const y = rmsNorm(net, `${path}.post_attention_layernorm`, r, d, c.rmsNormEps);
  const inner = (name: string, role: 'gate' | 'up') =>
    linear(net, `${path}.mlp.${name}`, y, { in: d, out: c.intermediateSize, bias: c.mlpBias, layer, role });
  const gated = ops.mul(activations[c.activation]!(net, inner('gate_proj', 'gate')), inner('up_proj', 'up'));
  const down = { in: c.intermediateSize, out: d, bias: c.mlpBias, layer, role: 'down' } as const;
  return ops.add(r, linear(net, `${path}.mlp.down_proj`, gated, down));
}

/** Declares the cache of one layer and returns the new keys and values. */
function cached(
  net: Net,
  c: LlamaConfig,
  layer: number,
  key: ShapedValue,
  value: ShapedValue,
  bias: ShapedValue,
  outputs: Record<string, ShapedValue>,
): Past {
  const dims = cacheDims({ layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim }, 'past');
  const declare = (part: 'key' | 'value', fresh: ShapedValue) => {
    outputs[cacheNames(layer, part).present] = fresh;
    return net.ops.input(cacheNames(layer, part).past, 'f32', dims);
  };
  return { key: declare('key', key), value: declare('value', value), bias };
}

const llamaLike = (modelType: string, isQwen2: { readonly qkvBias?: boolean }): Architecture<LlamaConfig> =>
  defineArchitecture<LlamaConfig>({
    modelType,
    bodyPrefix: 'model.',
    config: (raw) => llamaConfig(raw, isQwen2),
    heads: {
      'causal-lm': {
        module: 'lm_head',
        token: 'last',
        build(net, c, options) {
          const { hidden, outputs } = body(net, c, 'model.', options);
          const logits = linear(net, 'lm_head', hidden, { in: c.hiddenSize, out: c.vocabSize, head: true });
          return { logits, ...outputs };
        },
      },
      'sequence-classification': {
        module: 'score',
        token: 'last',
        build(net, c, options) {
          const { hidden, outputs } = body(net, c, 'model.', options);
          const logits = linear(net, 'score', hidden, { in: c.hiddenSize, out: options.classes, head: true });
          return { logits, ...outputs };
        },
      },
      features: {
        build(net, c, options) {
          const { hidden, outputs } = body(net, c, '', options);
          return { last_hidden_state: hidden, ...outputs };
        },
      },
      embedding: {
        token: 'first',
        build(net, c, options) {
          const { hidden, grid, outputs } = body(net, c, '', { ...options, read: false });
          return { embeddings: pool(net, hidden, grid, options.pooling), ...outputs };
        },
      },
    },
    cache: (c) => ({ layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim }),
    tied: (c): Record<string, string> => (c.tiedHead ? { 'lm_head.weight': 'model.embed_tokens.weight' } : {}),
  });

export const llama = llamaLike('llama', {});
export const qwen2 = llamaLike('qwen2', { qkvBias: true });
