import { PeftError } from '../errors.js';
import { type JsonObject, type JsonValue, quote } from './json-values.js';

export interface JsonOptions {
  /** What messages call the text, e.g. a path. */
  readonly subject: string;
  /** Objects and arrays within each other; default 64. */
  readonly maxDepth?: number;
  /** Keys of one object; default a million. */
  readonly maxKeys?: number;
}

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};
const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const loneSurrogate = /\p{Surrogate}/u;

/**
 * Reads JSON as RFC 8259 has it and nothing else: UTF-8 without a byte order mark, no key twice, no lone surrogate, no
 * comment, no trailing comma, bounded depth.
 * @throws PeftError FILE_INVALID with the place of the first syntax error, or with all keys that occur twice.
 */
export function parseJson(source: Uint8Array | string, options: JsonOptions): JsonValue {
  const { subject, maxDepth = 64, maxKeys = 1_000_000 } = options;
  const text = typeof source === 'string' ? source : decodeUtf8(source, subject);
  if (typeof source === 'string' && loneSurrogate.test(text))
    throw new PeftError('FILE_INVALID', `${subject} has half of a surrogate pair.`);
  const duplicates: string[] = [];
  let at = 0;

  function fail(problem: string, position = at): never {
    const before = text.slice(0, position);
    const line = before.split('\n').length;
    const column = position - before.lastIndexOf('\n');
    const message = `${subject} is not valid JSON: ${problem} at line ${line}, column ${column}.`;
    throw new PeftError('FILE_INVALID', message, { details: { position } });
  }

  const found = (): string => (at < text.length ? quote(text.slice(at, at + 12)) : 'the end of the text');

  function space(): void {
    for (;;) {
      const code = text.charCodeAt(at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      at++;
    }
  }

  function escapeSequence(): string {
    const letter = text[at + 1] ?? '';
    if (letter !== 'u') {
      const character = escapes[letter];
      if (character === undefined) fail(`${quote(`\\${letter}`)} is no escape`);
      at += 2;
      return character!;
    }
    const digits = text.slice(at + 2, at + 6);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) fail(`\\u needs four hexadecimal digits, not ${quote(digits)}`);
    at += 6;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  function string(): string {
    const start = ++at;
    let value = '';
    let from = at;
    let escaped = false;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === 0x22) break;
      if (code === 0x5c) {
        escaped = true;
        value += text.slice(from, at) + escapeSequence();
        from = at;
      } else if (code < 0x20) fail('a control character stands in a string; escape it');
      else if (Number.isNaN(code)) fail('a string does not end', start - 1);
      else at++;
    }
    value += text.slice(from, at++);
    if (escaped && loneSurrogate.test(value)) fail('a string has half of a surrogate pair', start - 1);
    return value;
  }

  function object(depth: number): JsonObject {
    const members = new Map<string, JsonValue>();
    at++;
    space();
    if (text[at] === '}') {
      at++;
      return members;
    }
    for (;;) {
      if (text[at] !== '"') fail(`a key in double quotes was expected, not ${found()}`);
      const key = string();
      space();
      if (text[at] !== ':') fail(`':' was expected, not ${found()}`);
      at++;
      const value = element(depth);
      if (members.has(key)) duplicates.push(key);
      else members.set(key, value);
      if (members.size > maxKeys) fail(`an object has more than ${maxKeys} keys`);
      const next = text[at++];
      if (next === '}') return members;
      if (next !== ',') fail(`',' or '}' was expected`, at - 1);
      space();
    }
  }

  function array(depth: number): readonly JsonValue[] {
    const values: JsonValue[] = [];
    at++;
    space();
    if (text[at] === ']') {
      at++;
      return values;
    }
    for (;;) {
      values.push(element(depth));
      const next = text[at++];
      if (next === ']') return values;
      if (next !== ',') fail(`',' or ']' was expected`, at - 1);
    }
  }

  /** A value with the white space around it. */
  function element(depth: number): JsonValue {
    space();
    const value = scalarOrNested(depth);
    space();
    return value;
  }

  function scalarOrNested(depth: number): JsonValue {
    const character = text[at];
    if (character === '"') return string();
    if (character === '{' || character === '[') {
      if (depth >= maxDepth) fail(`values are nested more than ${maxDepth} deep`);
      return character === '{' ? object(depth + 1) : array(depth + 1);
    }
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (!text.startsWith(word, at)) continue;
      at += word.length;
      return value;
    }
    numberPattern.lastIndex = at;
    const number = numberPattern.exec(text)?.[0];
    if (number === undefined) return fail(`a value was expected, not ${found()}`);
    at += number.length;
    return { text: number };
  }

  const value = element(0);
  if (at < text.length) fail(`the text goes on after its end: ${found()}`);
  if (duplicates.length > 0) {
    const keys = [...new Set(duplicates)];
    const shown = keys.slice(0, 20).map(quote).join(', ') + (keys.length > 20 ? ` and ${keys.length - 20} more` : '');
    const message = `${subject} has keys that occur twice, so its meaning is ambiguous: ${shown}.`;
    throw new PeftError('FILE_INVALID', message, { details: { keys } });
  }
  return value;
}

function decodeUtf8(bytes: Uint8Array, subject: string): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `${subject} is not valid UTF-8.`, { cause });
  }
  if (!text.startsWith('\ufeff')) return text;
  throw new PeftError('FILE_INVALID', `${subject} starts with a byte order mark; save it as UTF-8 without one.`);
}
