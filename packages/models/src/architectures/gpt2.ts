import type { ShapedValue } from '@peftjs/core/graph';
import { activations } from './activations.js';
import { type BuildOptions, type CacheShape, defineArchitecture } from './architecture.js';
import { attention, splitHeads } from './attention.js';
import { cached } from './cache.js';
import { type Gpt2Config, gpt2Config } from './gpt2-config.js';
import { flat, narrow, tokenInputs } from './grid.js';
import { type Body, decoderHeads } from './heads.js';
import { embedding, layerNorm, linear, type Net } from './net.js';
import { type LayerContext, stack } from './stack.js';

const cacheOf = ({ layers, heads, headDim }: Gpt2Config): CacheShape => ({ layers, kvHeads: heads, headDim });

/** The decoder without a head (GPT-2, Radford et al. 2019): pre-norm, learned positions, weights stored (in, out). */
function body(net: Net, c: Gpt2Config, prefix: string, options: BuildOptions): Body {
  const { ids, grid } = tokenInputs(net);
  const words = embedding(net, `${prefix}wte`, ids, c.vocabSize, c.hiddenSize);
  const places = embedding(net, `${prefix}wpe`, flat(net, grid.position), c.positions, c.hiddenSize);
  return stack(net, grid, net.ops.add(words, places), options, {
    layers: c.layers,
    causal: true,
    cache: true,
    norm: (x) => layerNorm(net, `${prefix}ln_f`, x, c.hiddenSize, c.layerNormEps),
    build: (x, context) => layer(net, c, `${prefix}h.${context.layer}`, x, context),
  });
}

function layer(net: Net, c: Gpt2Config, path: string, h: ShapedValue, context: LayerContext): ShapedValue {
  const { hiddenSize: d, intermediateSize: inner, layerNormEps } = c;
  const norm = (name: string, x: ShapedValue) => layerNorm(net, `${path}.${name}`, x, d, layerNormEps);
  const shared = { bias: true, kind: 'conv1d', layer: context.layer } as const;

  const o = selfAttention(net, c, `${path}.attn`, norm('ln_1', h), context);
  const r = net.ops.add(narrow(net, h, context.asking.reads), o);
  const up = linear(net, `${path}.mlp.c_fc`, norm('ln_2', r), { ...shared, in: d, out: inner, role: 'up' });
  const active = activations[c.activation]!(net, up);
  return net.ops.add(r, linear(net, `${path}.mlp.c_proj`, active, { ...shared, in: inner, out: d, role: 'down' }));
}

/** Query, key and value come from one product over all tokens: x [batch*length, hidden] -> [asking rows, hidden]. */
function selfAttention(
  net: Net,
  c: Gpt2Config,
  path: string,
  x: ShapedValue,
  { layer, all, asking, caching }: LayerContext,
): ShapedValue {
  const { ops } = net;
  const { hiddenSize: d, heads, headDim } = c;
  const size = { heads, kvHeads: heads, headDim };
  const shared = { bias: true, kind: 'conv1d', layer, attention: size } as const;
  const fused = linear(net, `${path}.c_attn`, x, { ...shared, in: d, out: 3 * d, role: 'query-key-value' });
  const [query, key, value] = ops.split(fused, 1, [d, d, d]) as [ShapedValue, ShapedValue, ShapedValue];
  const scale = 1 / Math.sqrt(headDim) / (c.scaleByLayer ? layer + 1 : 1);
  const q = splitHeads(net, ops.mul(narrow(net, query, asking.reads), scale), asking.grid, heads, headDim);
  const k = splitHeads(net, key, all, heads, headDim);
  const v = splitHeads(net, value, all, heads, headDim);
  const mixed = attention(net, q, k, v, {
    ...size,
    queries: asking.grid,
    bias: asking.bias,
    ...(caching && { past: cached(net, layer, k, v, caching) }),
  });
  return linear(net, `${path}.c_proj`, mixed, { ...shared, in: d, out: d, role: 'output' });
}

export const gpt2 = defineArchitecture<Gpt2Config>({
  modelType: 'gpt2',
  bodyPrefix: 'transformer.',
  config: gpt2Config,
  heads: decoderHeads('transformer.', body),
  cache: cacheOf,
  layerSize: ({ hiddenSize: d, heads, headDim, intermediateSize: inner }) => ({
    heads,
    headDim,
    weights: d * (4 * d + 2 * inner),
  }),
  tied: (c): Record<string, string> => (c.tiedHead ? { 'lm_head.weight': 'transformer.wte.weight' } : {}),
});
