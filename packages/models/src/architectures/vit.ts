import { mulDim, type ShapedValue } from '@peftjs/core/graph';
import { activations } from './activations.js';
import { type BuildOptions, defineArchitecture } from './architecture.js';
import { attention, splitHeads } from './attention.js';
import { narrow } from './grid.js';
import type { Body } from './heads.js';
import { layerNorm, linear, type Net, parameter } from './net.js';
import { type LayerContext, stack } from './stack.js';
import { type VitConfig, vitConfig } from './vit-config.js';

/** The encoder without a head (ViT, https://arxiv.org/abs/2010.11929): patches, a class token first, pre-norm. */
function body(net: Net, c: VitConfig, prefix: string, options: BuildOptions): Body {
  const encoded = stack(net, { count: c.tokens }, embeddings(net, c, `${prefix}embeddings`), options, {
    layers: c.layers,
    causal: false,
    build: (x, context) => layer(net, c, `${prefix}layers.${context.layer}`, x, context),
  });
  return { ...encoded, hidden: layerNorm(net, `${prefix}layernorm`, encoded.hidden, c.hiddenSize, c.layerNormEps) };
}

/** z₀ = [x_class; x¹E; ...; xᴺE] + E_pos (eq. 1): pixel_values [batch, channels, height, width] -> [batch*tokens, width]. */
function embeddings(net: Net, c: VitConfig, path: string): ShapedValue {
  const { ops } = net;
  const { hiddenSize: d, channels, patchSize, tokens } = c;
  const pixels = ops.input('pixel_values', 'f32', ['batch', channels, ...c.imageSize]);
  const projection = `${path}.patch_embeddings.projection`;
  const weight = parameter(net, `${projection}.weight`, [d, channels, ...patchSize]);
  const bias = parameter(net, `${projection}.bias`, [d]);
  const patches = ops.scope(projection, () => ops.conv2d(pixels, weight, bias, { strides: patchSize }));
  const rows = ops.transpose(ops.reshape(patches, ['batch', d, tokens - 1]), [0, 2, 1]);
  const first = ops.expand(parameter(net, `${path}.cls_token`, [1, 1, d]), ['batch', 1, d]);
  const places = parameter(net, `${path}.position_embeddings`, [1, tokens, d]);
  return ops.reshape(ops.add(ops.concat([first, rows], 1), places), [mulDim('batch', tokens), d]);
}

function layer(net: Net, c: VitConfig, path: string, h: ShapedValue, context: LayerContext): ShapedValue {
  const { hiddenSize: d, intermediateSize: inner, layerNormEps } = c;
  const norm = (name: string, x: ShapedValue) => layerNorm(net, `${path}.${name}`, x, d, layerNormEps);
  const shared = { bias: true, layer: context.layer };

  const o = selfAttention(net, c, `${path}.attention`, norm('layernorm_before', h), context);
  const r = net.ops.add(narrow(net, h, context.asking.reads), o);
  const y = norm('layernorm_after', r);
  const up = linear(net, `${path}.mlp.fc1`, y, { ...shared, in: d, out: inner, role: 'up' });
  const active = activations[c.activation]!(net, up);
  return net.ops.add(r, linear(net, `${path}.mlp.fc2`, active, { ...shared, in: inner, out: d, role: 'down' }));
}

/** Attention of the asking rows over all patches: x [batch*tokens, hidden] -> [asking rows, hidden]. */
function selfAttention(
  net: Net,
  c: VitConfig,
  path: string,
  x: ShapedValue,
  { layer, all, asking }: LayerContext,
): ShapedValue {
  const { hiddenSize: d, heads, headDim } = c;
  const size = { heads, kvHeads: heads, headDim };
  const shared = { in: d, out: d, layer, attention: size };
  const project = (name: string, role: 'query' | 'key' | 'value', from: ShapedValue) =>
    linear(net, `${path}.${name}`, from, { ...shared, bias: c.qkvBias, role });

  const query = project('q_proj', 'query', narrow(net, x, asking.reads));
  const q = splitHeads(net, net.ops.mul(query, 1 / Math.sqrt(headDim)), asking.grid, heads, headDim);
  const k = splitHeads(net, project('k_proj', 'key', x), all, heads, headDim);
  const v = splitHeads(net, project('v_proj', 'value', x), all, heads, headDim);
  const mixed = attention(net, q, k, v, { ...size, queries: asking.grid, bias: asking.bias });
  return linear(net, `${path}.o_proj`, mixed, { ...shared, bias: true, role: 'output' });
}

/** Modules of a layer as transformers 5 calls them, and as checkpoints do. */
const classic: Readonly<Record<string, string>> = {
  'attention.q_proj': 'attention.attention.query',
  'attention.k_proj': 'attention.attention.key',
  'attention.v_proj': 'attention.attention.value',
  'attention.o_proj': 'attention.output.dense',
  'mlp.fc1': 'intermediate.dense',
  'mlp.fc2': 'output.dense',
  layernorm_before: 'layernorm_before',
  layernorm_after: 'layernorm_after',
};

const inLayer = new RegExp(
  `(^|\\.)layers\\.(\\d+)\\.(${Object.keys(classic).join('|').replaceAll('.', '\\.')})(?=\\.|$)`,
);

export const vit = defineArchitecture<VitConfig>({
  modelType: 'vit',
  bodyPrefix: 'vit.',
  config: vitConfig,
  image: ({ channels, imageSize, tokens }) => ({ channels, size: imageSize, tokens }),
  layerSize: ({ hiddenSize: d, heads, headDim, intermediateSize: inner }) => ({
    heads,
    headDim,
    weights: d * (4 * d + 2 * inner),
  }),
  heads: {
    'image-classification': {
      module: 'classifier',
      token: 'first',
      build(net, c, options) {
        const { hidden, outputs } = body(net, c, 'vit.', options);
        const sizes = { in: c.hiddenSize, out: options.classes };
        return { logits: linear(net, 'classifier', hidden, { ...sizes, bias: true, head: true }), ...outputs };
      },
    },
    features: {
      build(net, c, options) {
        const { hidden, outputs } = body(net, c, '', options);
        return { last_hidden_state: hidden, ...outputs };
      },
    },
  },
  aliases: (path) => [
    path.replace(
      inLayer,
      (_, before: string, n: string, name: string) => `${before}encoder.layer.${n}.${classic[name]}`,
    ),
  ],
});
