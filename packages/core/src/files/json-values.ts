import { PeftError } from '../errors.js';

/** A number as it is written: `text` decides what it is, because 2, 2.0 and 2e0 are one double but not one integer. */
export interface JsonNumber {
  readonly text: string;
}

/** Objects are Maps in source order, so no key has a meaning of its own (`__proto__` is a key like any other). */
export type JsonValue = null | boolean | string | JsonNumber | readonly JsonValue[] | JsonObject;
export type JsonObject = ReadonlyMap<string, JsonValue>;

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject => value instanceof Map;
export const isJsonArray = (value: JsonValue | undefined): value is readonly JsonValue[] => Array.isArray(value);
export const isJsonNumber = (value: JsonValue | undefined): value is JsonNumber =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map);

/** The integer from 0 to 2^53 - 1 that is written with digits only; undefined for anything else. */
export function jsonInteger(value: JsonValue | undefined): number | undefined {
  if (!isJsonNumber(value) || !/^\d+$/.test(value.text)) return undefined;
  const number = Number(value.text);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** A value as it would stand in a message, shortened. */
export function describeJson(value: JsonValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (isJsonObject(value)) return 'an object';
  if (isJsonArray(value)) return 'an array';
  if (typeof value === 'string') return quote(value);
  return isJsonNumber(value) ? shorten(value.text) : String(value);
}

const shorten = (text: string): string => (text.length > 100 ? `${text.slice(0, 97)}...` : text);

/** A name from a file for a message: escaped and shortened. */
export const quote = (text: string): string => JSON.stringify(shorten(text));

/**
 * As ordinary JavaScript values: objects without a prototype, numbers as doubles.
 * @throws PeftError FILE_INVALID for a number beyond the range of a double.
 */
export function toPlain(value: JsonValue): unknown {
  if (isJsonObject(value)) {
    const plain: Record<string, unknown> = Object.create(null);
    for (const [key, member] of value) plain[key] = toPlain(member);
    return plain;
  }
  if (isJsonArray(value)) return value.map(toPlain);
  if (!isJsonNumber(value)) return value;
  const number = Number(value.text);
  if (Number.isFinite(number)) return number;
  throw new PeftError('FILE_INVALID', `The number ${shorten(value.text)} is too large.`);
}
