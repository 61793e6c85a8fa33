/** A byte-level BPE tokenizer learned from text, in the file format of Hugging Face tokenizers. */

/** GPT-2's split of text into words with their leading space, numbers and signs: what `ByteLevel` with `use_regex` does. */
const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** GPT-2's printable character for every byte: printable Latin-1 stands for itself, the rest starts at U+0100. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCharCode(printable ? byte : next++);
  });
}

export const endToken = '</s>';

/**
 * Learns `size - 257` merges: each joins the most frequent pair of neighbours (Sennrich et al. 2016, section 3.2), the
 * pair that comes first in text order among equals.
 */
export function learnTokenizer(texts: Iterable<string>, size: number) {
  const characters = byteCharacters();
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of text.matchAll(wordPattern)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const encoder = new TextEncoder();
  const words = [...counts].map(([word, count]) => ({
    count,
    parts: Array.from(encoder.encode(word), (byte) => characters[byte]!),
  }));
  const tokens = [endToken, ...characters];
  const merges: string[] = [];
  while (tokens.length < size) {
    const pair = mostFrequentPair(words);
    if (!pair) break;
    merges.push(pair);
    const [left, right] = pair.split(' ') as [string, string];
    tokens.push(left + right);
    for (const word of words) word.parts = join(word.parts, left, right);
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      { id: 0, content: endToken, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

function mostFrequentPair(words: readonly { count: number; parts: readonly string[] }[]): string | undefined {
  const pairs = new Map<string, number>();
  for (const { count, parts } of words) {
    for (let i = 1; i < parts.length; i++) {
      const pair = `${parts[i - 1]} ${parts[i]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + count);
    }
  }
  const [best] = [...pairs].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return best?.[0];
}

function join(parts: readonly string[], left: string, right: string): string[] {
  const joined: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const both = parts[i] === left && parts[i + 1] === right;
    joined.push(both ? left + right : parts[i]!);
    if (both) i++;
  }
  return joined;
}
