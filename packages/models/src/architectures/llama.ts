import type { ShapedValue } from '@peftjs/core/graph';
import { activations } from './activations.js';
import { type Architecture, type BuildOptions, type CacheShape, defineArchitecture } from './architecture.js';
import { attention, headsLeft, splitHeads } from './attention.js';
import { cached } from './cache.js';
import { type Grid, narrow, tokenInputs } from './grid.js';
import { type Body, decoderHeads } from './heads.js';
import { type LlamaConfig, llamaConfig } from './llama-config.js';
import { embedding, linear, type Net, rmsNorm, rowsLeft } from './net.js';
import { type Rotation, rotation } from './rotary.js';
import { type LayerContext, stack } from './stack.js';

const cacheOf = ({ layers, kvHeads, headDim }: LlamaConfig): CacheShape => ({ layers, kvHeads, headDim });

/** The decoder without a head (Llama 2, https://arxiv.org/abs/2307.09288): pre-norm, rotary positions, SwiGLU. */
function body(net: Net, c: LlamaConfig, prefix: string, options: BuildOptions): Body {
  const { ids, grid } = tokenInputs(net);
  const turns = new Map<Grid, Rotation>();
  const turnOf = (of: Grid): Rotation => {
    const turn = turns.get(of) ?? rotation(net, of.position!, c.headDim, c.ropeTheta);
    turns.set(of, turn);
    return turn;
  };
  const h = embedding(net, `${prefix}embed_tokens`, ids, c.vocabSize, c.hiddenSize);
  return stack(net, grid, h, options, {
    layers: c.layers,
    causal: true,
    cache: true,
    norm: (x) => rmsNorm(net, `${prefix}norm`, x, c.hiddenSize, c.rmsNormEps),
    build: (x, context) => layer(net, c, `${prefix}layers.${context.layer}`, x, context, turnOf),
  });
}

function layer(
  net: Net,
  c: LlamaConfig,
  path: string,
  h: ShapedValue,
  context: LayerContext,
  turnOf: (grid: Grid) => Rotation,
): ShapedValue {
  const { hiddenSize: d, rmsNormEps } = c;
  const x = rmsNorm(net, `${path}.input_layernorm`, h, d, rmsNormEps);
  const o = selfAttention(net, c, `${path}.self_attn`, x, context, turnOf);
  const r = net.ops.add(narrow(net, h, context.asking.reads), o);
  const y = rmsNorm(net, `${path}.post_attention_layernorm`, r, d, rmsNormEps);
  return net.ops.add(r, feedForward(net, c, `${path}.mlp`, y, context.layer));
}

/** Attention of the asking rows over all tokens: x [batch*length, hidden] -> [asking rows, hidden]. */
function selfAttention(
  net: Net,
  c: LlamaConfig,
  path: string,
  x: ShapedValue,
  { layer, all, asking, caching }: LayerContext,
  turnOf: (grid: Grid) => Rotation,
): ShapedValue {
  const { hiddenSize: d } = c;
  const size = headsLeft(net, { query: `${path}.q_proj`, key: `${path}.k_proj` }, c);
  const { heads, kvHeads, headDim } = size;
  const project = (name: string, role: 'query' | 'key' | 'value', from: ShapedValue, out: number) =>
    linear(net, `${path}.${name}`, from, { in: d, out, bias: c.qkvBias, layer, role, attention: size });
  const turn = (y: ShapedValue, grid: Grid, n: number) => {
    const { cos, sin } = turnOf(grid);
    return net.ops.rotary(splitHeads(net, y, grid, n, headDim), cos, sin);
  };
  const query = project('q_proj', 'query', narrow(net, x, asking.reads), heads * headDim);
  const q = turn(net.ops.mul(query, 1 / Math.sqrt(headDim)), asking.grid, heads);
  const k = turn(project('k_proj', 'key', x, kvHeads * headDim), all, kvHeads);
  const v = splitHeads(net, project('v_proj', 'value', x, kvHeads * headDim), all, kvHeads, headDim);
  const mixed = attention(net, q, k, v, {
    ...size,
    queries: asking.grid,
    bias: asking.bias,
    ...(caching && { past: cached(net, layer, k, v, caching) }),
  });
  const options = { in: heads * headDim, out: d, bias: c.outputBias, layer, attention: size };
  return linear(net, `${path}.o_proj`, mixed, { ...options, role: 'output' });
}

/** SwiGLU (https://arxiv.org/abs/2002.05202): (act(x Gᵀ) ⊙ x Uᵀ) Dᵀ. */
function feedForward(net: Net, c: LlamaConfig, path: string, x: ShapedValue, layer: number): ShapedValue {
  const { hiddenSize: d, mlpBias: bias } = c;
  const inner = rowsLeft(net, `${path}.up_proj`, c.intermediateSize);
  const gate = linear(net, `${path}.gate_proj`, x, { in: d, out: inner, bias, layer, role: 'gate' });
  const up = linear(net, `${path}.up_proj`, x, { in: d, out: inner, bias, layer, role: 'up' });
  const gated = net.ops.mul(activations[c.activation]!(net, gate), up);
  return linear(net, `${path}.down_proj`, gated, { in: inner, out: d, bias, layer, role: 'down' });
}

const llamaLike = (modelType: string, family: { readonly qkvBias?: boolean }): Architecture<LlamaConfig> =>
  defineArchitecture<LlamaConfig>({
    modelType,
    bodyPrefix: 'model.',
    config: (raw) => llamaConfig(raw, family),
    heads: decoderHeads('model.', body),
    cache: cacheOf,
    layerSize: ({ hiddenSize: d, heads, kvHeads, headDim, intermediateSize: inner }) => ({
      heads,
      headDim,
      weights: d * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * inner),
    }),
    tied: (c): Record<string, string> => (c.tiedHead ? { 'lm_head.weight': 'model.embed_tokens.weight' } : {}),
  });

export const llama = llamaLike('llama', {});
/** Qwen2 (https://arxiv.org/abs/2407.10671): Llama with biases on query, key and value. */
export const qwen2 = llamaLike('qwen2', { qkvBias: true });
