import type { Problems } from '@peftjs/core';
import type { Files } from '../platform/files.js';

type Vocabulary = ReadonlyMap<string, number>;

interface TokenizerFile {
  readonly model?: { readonly vocab?: Readonly<Record<string, number>> | readonly (readonly [string, number])[] };
  readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
}

/** Tokens by text of a model's tokenizer.json; undefined where there is none. */
async function vocabularyOf(files: Files, directory: string): Promise<Vocabulary | undefined> {
  const text = await files.readText(files.join(directory, 'tokenizer.json'));
  if (text === undefined) return undefined;
  const { model, added_tokens: added = [] } = JSON.parse(text) as TokenizerFile;
  const vocab = model?.vocab ?? {};
  const entries: [string, number][] = Array.isArray(vocab)
    ? vocab.map(([token], id) => [token, id])
    : Object.entries(vocab);
  return new Map([...entries, ...added.map(({ content, id }): [string, number] => [content, id])]);
}

/** Tokens that stand for another number, and numbers that stand for another token. */
function contradictions(a: Vocabulary, b: Vocabulary): string[] {
  const tokens = new Map([...a].map(([token, id]) => [id, token]));
  const found: string[] = [];
  for (const [token, id] of b) {
    const mine = a.get(token);
    const other = tokens.get(id);
    if (mine !== undefined && mine !== id) found.push(`${JSON.stringify(token)} is ${mine} and ${id}`);
    else if (mine === undefined && other !== undefined)
      found.push(`${id} is ${JSON.stringify(other)} and ${JSON.stringify(token)}`);
  }
  return found;
}

/**
 * Rows of embeddings are merged by their numbers, so a number must be one token everywhere. Tokens that only one model
 * has, at numbers free in the others, contradict nothing.
 */
export async function checkVocabularies(
  files: Files,
  models: readonly { readonly id: string; readonly directory: string }[],
  problems: Problems,
): Promise<void> {
  let first: { id: string; tokens: Vocabulary } | undefined;
  for (const { id, directory } of models) {
    const tokens = await vocabularyOf(files, directory);
    if (!tokens) continue;
    if (!first) {
      first = { id, tokens };
      continue;
    }
    const found = contradictions(first.tokens, tokens);
    if (found.length === 0) continue;
    const shown = `${found.slice(0, 3).join(', ')}${found.length > 3 ? `, and ${found.length - 3} more` : ''}`;
    problems.add(`the vocabularies of ${first.id} and ${id} contradict each other: ${shown}`);
  }
}
