import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { PeftError } from '@peftjs/core';
import type { FileSet } from '@peftjs/core/files';
import type { RawConfig } from './config.js';
import { readJson } from './directory.js';
import { createTextStream, type TextStream } from './text-stream.js';

export interface Encoding {
  readonly ids: number[];
  /** 0 for the first text and its special tokens, 1 for the second. */
  readonly typeIds: number[];
}

export interface EncodeOptions {
  /** A second text, for models that read pairs. */
  readonly pair?: string;
  /** Adds the tokens the model expects around a text ([CLS], [SEP], <s>). Default true. */
  readonly specialTokens?: boolean;
  /** Cuts to this many tokens, special ones included; of a pair the longer text first. */
  readonly maxLength?: number;
}

/** Text to token ids and back, as the model's tokenizer.json says. */
export interface Tokenizer {
  encode(text: string, options?: EncodeOptions): Encoding;
  /** @param options.skipSpecialTokens default true */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** Text of ids that arrive one by one and continue `after`, never a part of a character. */
  stream(options?: { skipSpecialTokens?: boolean; after?: readonly number[] }): TextStream;
  /** Special tokens that `encode` puts before and after a single text. */
  readonly startIds: readonly number[];
  readonly endIds: readonly number[];
  id(token: string): number | undefined;
  token(id: number): string | undefined;
  /** tokenizer_config.json as it stands in the file. */
  readonly config: RawConfig;
  /** Special tokens by role (`bos_token`, `eos_token`, ...), for chat templates. */
  readonly special: Readonly<Record<string, string>>;
}

type Tokens = readonly string[];

/** Stands for a text where only the special tokens around it are asked for; no tokenizer makes it. */
const placeholder = '\u0000';

/** Cuts a text, or the longer one of a pair, until both have at most `budget` tokens together. */
function truncate(a: Tokens, b: Tokens | null, budget: number): [Tokens, Tokens | null] {
  if (!b) return [a.slice(0, Math.max(0, budget)), null];
  let [n, m] = [a.length, b.length];
  while (n + m > Math.max(0, budget)) {
    if (n > m) n--;
    else m--;
  }
  return [a.slice(0, n), b.slice(0, m)];
}

/** Contents of the special tokens of tokenizer_config.json, where they are strings or objects with `content`. */
function specialTokens(config: RawConfig): Record<string, string> {
  const contents = Object.entries(config)
    .filter(([key]) => key.endsWith('_token'))
    .map(([key, value]) => [key, typeof value === 'string' ? value : (value as { content?: unknown } | null)?.content]);
  return Object.fromEntries(contents.filter(([, content]) => typeof content === 'string'));
}

/** @throws PeftError FILE_INVALID when the library cannot read the file */
export function createTokenizer(file: RawConfig, config: RawConfig = {}): Tokenizer {
  const hub = construct(file, config);
  const unknown = hub.model?.unk_token_id;

  function idOf(token: string): number {
    const id = hub.token_to_id(token) ?? unknown;
    if (id === undefined)
      throw new PeftError('DATA_INVALID', `The tokenizer has no id for the token "${token}" and no unknown token.`);
    return id;
  }

  /** Adds special tokens and says which text each token belongs to. */
  function assemble(a: Tokens, b: Tokens | null): { tokens: Tokens; typeIds: number[] } {
    const zeros = (n: number): number[] => new Array<number>(n).fill(0);
    if (!hub.post_processor)
      return { tokens: b ? [...a, ...b] : a, typeIds: [...zeros(a.length), ...(b ?? []).map(() => 1)] };
    const made = hub.post_processor([...a], b && [...b], true);
    return { tokens: made.tokens, typeIds: made.token_type_ids ?? zeros(made.tokens.length) };
  }

  const around = assemble([placeholder], null).tokens;
  const at = around.indexOf(placeholder);
  const overhead = { single: around.length - 1, pair: assemble([placeholder], [placeholder]).tokens.length - 2 };

  const decode: Tokenizer['decode'] = (ids, { skipSpecialTokens = true } = {}) =>
    ids.length === 0 ? '' : hub.decode([...ids], { skip_special_tokens: skipSpecialTokens });

  return {
    encode(text, { pair, specialTokens: special = true, maxLength = Number.POSITIVE_INFINITY } = {}) {
      const second = pair === undefined ? null : hub.tokenize(pair);
      const budget = maxLength - (special ? (second ? overhead.pair : overhead.single) : 0);
      const [a, b] = truncate(hub.tokenize(text), second, budget);
      const { tokens, typeIds } = special
        ? assemble(a, b)
        : { tokens: [...a, ...(b ?? [])], typeIds: [...a.map(() => 0), ...(b ?? []).map(() => 1)] };
      return { ids: tokens.map(idOf), typeIds };
    },
    decode,
    stream: ({ after, ...options } = {}) => createTextStream((ids) => decode(ids, options), after),
    startIds: around.slice(0, at).map(idOf),
    endIds: around.slice(at + 1).map(idOf),
    id: (token) => hub.token_to_id(token),
    token: (id) => hub.id_to_token(id),
    config,
    special: specialTokens(config),
  };
}

function construct(file: RawConfig, config: RawConfig): HubTokenizer {
  try {
    return new HubTokenizer(file, config);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `tokenizer.json cannot be used: ${(cause as Error).message}`, { cause });
  }
}

/** The tokenizer of a model directory; undefined when it has no tokenizer.json. @throws PeftError FILE_INVALID */
export async function readTokenizer(files: string | FileSet): Promise<Tokenizer | undefined> {
  const file = await readJson(files, 'tokenizer.json');
  return file && createTokenizer(file, await readJson(files, 'tokenizer_config.json'));
}
