/** A word-piece tokenizer of a few words, in the form of tokenizer.json. */
const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'fine', 'film', 'of', 'many', 'word', '##s', 'bad', '.'];
const special = (content: string) => ({ id: content, ids: [words.indexOf(content)], tokens: [content] });
const token = (content: string, type: number) => ({ SpecialToken: { id: content, type_id: type } });
const text = (id: 'A' | 'B', type: number) => ({ Sequence: { id, type_id: type } });

export const toyTokenizer = {
  version: '1.0',
  added_tokens: words.slice(0, 4).map((content, id) => ({ id, content, special: true, normalized: false })),
  normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [token('[CLS]', 0), text('A', 0), token('[SEP]', 0)],
    pair: [token('[CLS]', 0), text('A', 0), token('[SEP]', 0), text('B', 1), token('[SEP]', 1)],
    special_tokens: { '[CLS]': special('[CLS]'), '[SEP]': special('[SEP]') },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(words.map((word, id) => [word, id])),
  },
};
