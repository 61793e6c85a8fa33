import { PeftError } from '@peftjs/core';
import { type Options, parse } from 'csv-parse/sync';
import { readTextFile } from '../directory.js';

/** One row of a data set: texts by column. */
export type Row = Readonly<Record<string, string>>;

type Reader = (text: string, path: string) => Iterable<Row>;

const separated =
  (options: Options): Reader =>
  (text, path) => {
    try {
      return parse(text, { ...options, bom: true, columns: checkedHeader, skip_empty_lines: true }) as unknown as Row[];
    } catch (cause) {
      throw new PeftError('DATA_INVALID', `${path}: ${(cause as Error).message}`, { cause, details: { path } });
    }
  };

function checkedHeader(names: string[]): string[] {
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0) throw new Error(`the header has ${twice.map((name) => `"${name}"`).join(', ')} twice`);
  return names;
}

/** One JSON object a line. Numbers and booleans become their text, null is left out. */
function* jsonLines(text: string, path: string): Generator<Row> {
  for (const [i, line] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    if (line.trim() === '') continue;
    yield jsonRow(line, `${path}, line ${i + 1}`);
  }
}

function jsonRow(line: string, where: string): Row {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new PeftError('DATA_INVALID', `${where} is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PeftError('DATA_INVALID', `${where} is not a JSON object.`);
  const cells = Object.entries(value).filter(([, cell]) => cell !== null);
  const nested = cells.filter(([, cell]) => typeof cell === 'object').map(([name]) => name);
  if (nested.length > 0)
    throw new PeftError('DATA_INVALID', `${where} has lists or objects in ${nested.join(', ')}; a cell is one text.`);
  return Object.fromEntries(cells.map(([name, cell]) => [name, String(cell)]));
}

/** Readers by the ending of a file's name. TSV has no quoting: a quotation mark is a character like any other. */
const readers: Readonly<Record<string, Reader>> = {
  csv: separated({}),
  tsv: separated({ delimiter: '\t', quote: null }),
  jsonl: jsonLines,
  ndjson: jsonLines,
};

export interface RowsOptions {
  /** Where a column is called differently in the file: wanted name -> name in the file (`{ text: 'sentence' }`). */
  readonly columns?: Readonly<Record<string, string>>;
  /** Ending that says how to read the file. Default: that of its name. */
  readonly format?: string;
}

/**
 * The rows of a .tsv, .csv or .jsonl file, read when they are iterated, as often as that is done.
 * @throws PeftError CONFIG_INVALID for another ending; while iterating FILE_MISSING, FILE_INVALID, DATA_INVALID
 */
export function rows(path: string, options: RowsOptions = {}): AsyncIterable<Row> {
  const ending = options.format ?? /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  const read = readers[ending];
  if (!read) {
    const known = Object.keys(readers).join(', ');
    throw new PeftError('CONFIG_INVALID', `"${path}" has the ending "${ending}"; data files are ${known}.`);
  }
  const columns = Object.entries(options.columns ?? {});
  return {
    async *[Symbol.asyncIterator]() {
      const text = await readTextFile(path);
      if (text === undefined) throw new PeftError('FILE_MISSING', `The data file "${path}" does not exist.`);
      for (const row of read(text, path)) yield columns.length > 0 ? renamed(row, columns, path) : row;
    },
  };
}

function renamed(row: Row, columns: readonly [string, string][], path: string): Row {
  const absent = columns.filter(([, name]) => row[name] === undefined).map(([, name]) => name);
  if (absent.length > 0) {
    const message = `${path} has no column ${absent.join(', ')}; it has ${Object.keys(row).join(', ')}.`;
    throw new PeftError('DATA_INVALID', message, { details: { path, absent } });
  }
  const taken = new Set(columns.map(([, name]) => name));
  const kept = Object.entries(row).filter(([name]) => !taken.has(name));
  return Object.fromEntries([...kept, ...columns.map(([wanted, name]) => [wanted, row[name]!])]);
}
