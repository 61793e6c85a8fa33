import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '@peftjs/core/files';
import { randomWeights } from './random-weights.js';

// Writes examples/fixtures/encoder: a BERT of random weights, small enough to live in the repository. It knows nothing;
// it lets the examples of the documentation run. `node scripts/run.mjs scripts/make-encoder.ts`

const config = {
  architectures: ['BertModel'],
  model_type: 'bert',
  hidden_act: 'gelu',
  hidden_size: 32,
  initializer_range: 0.2,
  intermediate_size: 64,
  layer_norm_eps: 1e-12,
  max_position_embeddings: 64,
  num_attention_heads: 2,
  num_hidden_layers: 2,
  pad_token_id: 0,
  type_vocab_size: 2,
  vocab_size: 0,
};

const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'.split('');
const words = `a the and of is in it this film story music actor scene ending fine bright clever warm great good gentle
  funny dull slow bad weak empty cold poor tired very not with without full`.split(/\s+/);
const vocab = [
  ...new Set([...special, ...letters, ...letters.map((letter) => `##${letter}`), ..."!,.?'-".split(''), ...words]),
];

const token = (content: string) => ({
  id: vocab.indexOf(content),
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});
const one = (content: string) => ({ SpecialToken: { id: content, type_id: 0 } });
const tokenizer = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: special.map(token),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [one('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, one('[SEP]')],
    pair: [
      one('[CLS]'),
      { Sequence: { id: 'A', type_id: 0 } },
      one('[SEP]'),
      { Sequence: { id: 'B', type_id: 1 } },
      { SpecialToken: { id: '[SEP]', type_id: 1 } },
    ],
    special_tokens: Object.fromEntries(
      ['[CLS]', '[SEP]'].map((name) => [name, { id: name, ids: [vocab.indexOf(name)], tokens: [name] }]),
    ),
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(vocab.map((text, id) => [text, id])),
  },
};

const width = config.hidden_size;
const inner = config.intermediate_size;
const { tensors, add, linear, norm } = randomWeights(config.initializer_range);

add('embeddings.word_embeddings.weight', [vocab.length, width]);
add('embeddings.position_embeddings.weight', [config.max_position_embeddings, width]);
add('embeddings.token_type_embeddings.weight', [config.type_vocab_size, width]);
norm('embeddings.LayerNorm', width);
for (let i = 0; i < config.num_hidden_layers; i++) {
  const layer = `encoder.layer.${i}`;
  for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, width, width);
  linear(`${layer}.attention.output.dense`, width, width);
  norm(`${layer}.attention.output.LayerNorm`, width);
  linear(`${layer}.intermediate.dense`, inner, width);
  linear(`${layer}.output.dense`, width, inner);
  norm(`${layer}.output.LayerNorm`, width);
}
linear('pooler.dense', width, width);

const folder = fileURLToPath(new URL('../examples/fixtures/encoder/', import.meta.url));
const json = (file: string, value: unknown) => writeFile(`${folder}${file}`, `${JSON.stringify(value, null, 1)}\n`);
await writeSafetensors(`${folder}model.safetensors`, tensors, { metadata: new Map([['format', 'pt']]) });
await json('config.json', { ...config, vocab_size: vocab.length });
await json('tokenizer.json', tokenizer);
await json('tokenizer_config.json', {
  tokenizer_class: 'BertTokenizer',
  do_lower_case: true,
  model_max_length: config.max_position_embeddings,
  cls_token: '[CLS]',
  mask_token: '[MASK]',
  pad_token: '[PAD]',
  sep_token: '[SEP]',
  unk_token: '[UNK]',
});
