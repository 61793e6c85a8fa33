import type { ShapedValue } from '@peftjs/core/graph';
import { activations } from './activations.js';
import { type BuildOptions, defineArchitecture } from './architecture.js';
import { attention, headsLeft, splitHeads } from './attention.js';
import { type BertConfig, bertConfig } from './bert-config.js';
import { flat, narrow, type TextGrid, tokenInputs } from './grid.js';
import { type Body, featureHeads } from './heads.js';
import { embedding, type LinearOptions, layerNorm, linear, type Net, rowsLeft } from './net.js';
import { type LayerContext, stack } from './stack.js';

/** The encoder without a head (BERT, https://arxiv.org/abs/1810.04805): learned positions, norms after each sum. */
function body(net: Net, c: BertConfig, prefix: string, options: BuildOptions): Body {
  const { ids, grid } = tokenInputs(net);
  const h = embeddings(net, c, `${prefix}embeddings`, ids, grid);
  return stack(net, grid, h, options, {
    layers: c.layers,
    causal: false,
    build: (x, context) => encoderLayer(net, c, `${prefix}encoder.layer.${context.layer}`, x, context),
  });
}

function embeddings(net: Net, c: BertConfig, path: string, ids: ShapedValue, grid: TextGrid): ShapedValue {
  const { ops } = net;
  const types = flat(net, ops.input('token_type_ids', 'i64', ['batch', 'length']));
  const words = embedding(net, `${path}.word_embeddings`, ids, c.vocabSize, c.hiddenSize);
  const kinds = embedding(net, `${path}.token_type_embeddings`, types, c.tokenTypes, c.hiddenSize);
  const places = embedding(net, `${path}.position_embeddings`, flat(net, grid.position), c.positions, c.hiddenSize);
  const sum = ops.add(ops.add(words, kinds), places);
  return layerNorm(net, `${path}.LayerNorm`, sum, c.hiddenSize, c.layerNormEps);
}

/** h [batch*length, hidden] -> the asking rows. Keys and values are those of all tokens. */
function encoderLayer(
  net: Net,
  c: BertConfig,
  path: string,
  h: ShapedValue,
  { layer, all, asking }: LayerContext,
): ShapedValue {
  const { ops } = net;
  const { hiddenSize: d, headDim, layerNormEps } = c;
  const self = `${path}.attention.self`;
  const configured = { heads: c.heads, kvHeads: c.heads, headDim };
  const size = headsLeft(net, { query: `${self}.query`, key: `${self}.key` }, configured);
  const { heads } = size;
  const width = heads * headDim;
  const inner = rowsLeft(net, `${path}.intermediate.dense`, c.intermediateSize);
  const project = (role: 'query' | 'key' | 'value', from: ShapedValue) =>
    linear(net, `${self}.${role}`, from, { in: d, out: width, bias: true, layer, role, attention: size });

  const x = narrow(net, h, asking.reads);
  const q = splitHeads(net, ops.mul(project('query', x), 1 / Math.sqrt(headDim)), asking.grid, heads, headDim);
  const k = splitHeads(net, project('key', h), all, heads, headDim);
  const v = splitHeads(net, project('value', h), all, heads, headDim);
  const context = attention(net, q, k, v, { ...size, queries: asking.grid, bias: asking.bias });
  const dense = (name: string, from: ShapedValue, options: LinearOptions) =>
    linear(net, `${path}.${name}.dense`, from, { ...options, bias: true, layer });
  const norm = (name: string, from: ShapedValue) => layerNorm(net, `${path}.${name}.LayerNorm`, from, d, layerNormEps);

  const o = dense('attention.output', context, { in: width, out: d, role: 'output', attention: size });
  const y = norm('attention.output', ops.add(o, x));
  const up = dense('intermediate', y, { in: d, out: inner, role: 'up' });
  const down = dense('output', activations[c.activation]!(net, up), { in: inner, out: d, role: 'down' });
  return norm('output', ops.add(down, y));
}

export const bert = defineArchitecture<BertConfig>({
  modelType: 'bert',
  bodyPrefix: 'bert.',
  layerSize: ({ hiddenSize: d, heads, headDim, intermediateSize: inner }) => ({
    heads,
    headDim,
    weights: d * (4 * d + 2 * inner),
  }),
  tokenTypes: true,
  config: bertConfig,
  heads: {
    'sequence-classification': {
      module: 'classifier',
      token: 'first',
      build(net, c, options) {
        const { hidden, outputs } = body(net, c, 'bert.', options);
        const d = c.hiddenSize;
        const pooler = linear(net, 'bert.pooler.dense', hidden, { in: d, out: d, bias: true, role: 'other' });
        const pooled = net.ops.tanh(pooler);
        const logits = linear(net, 'classifier', pooled, { in: d, out: options.classes, bias: true, head: true });
        return { logits, ...outputs };
      },
    },
    ...featureHeads(body),
  },
  /** Checkpoints converted from TensorFlow name a norm's scale and shift after the paper. */
  aliases: (path) => [
    path.replace(/LayerNorm\.weight$/, 'LayerNorm.gamma').replace(/LayerNorm\.bias$/, 'LayerNorm.beta'),
  ],
});
