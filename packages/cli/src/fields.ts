import * as z from 'zod';

/** Text from the command line, or the value itself from a YAML file. */
const parsed = <S extends z.ZodType>(read: (text: string) => unknown, schema: S) =>
  z.preprocess((value) => (typeof value === 'string' ? read(value) : value), schema);

const toNumber = (text: string) => (text.trim() === '' ? text : Number(text));

export const number = (schema: z.ZodNumber = z.number()) => parsed(toNumber, schema);
export const positive = () => number(z.number().positive());
export const fraction = () => number(z.number().min(0).max(1));
export const integer = (min = 0) => number(z.int().min(min));
export const flag = () => z.boolean().default(false);

/** `a,b` or a YAML list. */
export const list = () => parsed((text) => text.split(',').map((part) => part.trim()), z.array(z.string().min(1)));

/** An option that may be given several times; one value in YAML needs no list. */
export const repeated = () =>
  z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.string().min(1)).default([]));

/**
 * `key=value` pairs, or a YAML mapping. Values stay text: the schema they belong to reads them.
 * @param separator splits one text into several pairs (`text=sentence,label=y`)
 */
export const pairs = (separator?: string) =>
  z.preprocess(
    (value) => {
      const entries = typeof value === 'string' ? (separator ? value.split(separator) : [value]) : value;
      if (!Array.isArray(entries)) return value;
      const split = entries.map((entry) => /^([^=]+)=(.*)$/s.exec(String(entry)));
      return split.every((found) => found !== null)
        ? Object.fromEntries(split.map((found) => [found[1], found[2]]))
        : value;
    },
    z.record(z.string(), z.unknown(), { error: 'expected KEY=VALUE' }).default({}),
  );
