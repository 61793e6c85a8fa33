import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJsonObject, jsonInteger, parseJson, toPlain } from '../src/files/index.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parseJson(bytes(text), { subject: 'config.json' });

describe('parseJson', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!/\\ud[89a-f]/i.test(text)); // JSON.stringify escapes lone surrogates, which are refused here
        expect(JSON.stringify(toPlain(parse(text)))).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  it('accepts nothing that JSON.parse refuses', () => {
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'u',
      '00e9',
      '1',
      '-',
      '.',
      'e',
      '0',
      ' ',
      '\n',
      'true',
      'null',
      '\u0001',
      'é',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        let accepted = true;
        try {
          parse(text);
        } catch {
          accepted = false;
        }
        if (accepted) expect(() => JSON.parse(text)).not.toThrow();
      }),
      { numRuns: 5000 },
    );
  });

  it('says where the text is wrong', () => {
    expect(() => parse('{\n  "r": 8,\n}')).toThrow(
      'config.json is not valid JSON: a key in double quotes was expected, not "}" at line 3, column 1.',
    );
    expect(() => parse('[1 2]')).toThrow("',' or ']' was expected at line 1, column 4");
    expect(() => parse('[01]')).toThrow('column 3');
    expect(() => parse('"a')).toThrow('a string does not end at line 1, column 1');
    expect(() => parse('{} x')).toThrow('the text goes on after its end: "x"');
    expect(() => parse('[NaN]')).toThrow('a value was expected, not "NaN]"');
  });

  it('refuses keys that occur twice, all of them, however they are written', () => {
    expect(() => parse('{"a":1,"\\u0061":2,"b":{"c":1,"c":1}}')).toThrow(
      'occur twice, so its meaning is ambiguous: "a", "c".',
    );
  });

  it('refuses other encodings, byte order marks and lone surrogates', () => {
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22), { subject: 'x' })).toThrow('x is not valid UTF-8');
    expect(() => parse('\ufeff{}')).toThrow('byte order mark');
    for (const text of ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud800x"'])
      expect(() => parse(text)).toThrow('half of a surrogate pair');
    expect(parse('"\\ud83d\\ude00"')).toBe('😀');
    expect(() => parseJson('"\ud800"', { subject: 'x' })).toThrow('surrogate');
  });

  it('bounds depth and keys', () => {
    expect(() => parse('['.repeat(100_000))).toThrow('nested more than 64 deep');
    expect(() => parseJson(bytes('{"a":1,"b":2}'), { subject: 'x', maxKeys: 1 })).toThrow('more than 1 keys');
  });

  it('has no special keys', () => {
    const value = parse('{"__proto__":{"x":1},"constructor":2}');
    expect(isJsonObject(value) && [...value.keys()]).toEqual(['__proto__', 'constructor']);
    const plain = toPlain(value) as Record<string, unknown>;
    expect(Object.keys(plain)).toEqual(['__proto__', 'constructor']);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('tells integers from other ways to write the same double', () => {
    const integer = (text: string) => jsonInteger(parse(text));
    expect(integer('9007199254740991')).toBe(9007199254740991);
    for (const text of ['9007199254740993', '2.0', '2e0', '-0', '-1', '"2"', 'null', '[2]'])
      expect(integer(text)).toBeUndefined();
    expect(() => toPlain(parse('1e999'))).toThrow('The number 1e999 is too large');
  });
});
