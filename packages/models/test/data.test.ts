import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isPeftError } from '@peftjs/core';
import { sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';

import { imageRows, labelsIn, type Row, type RowsOptions, rows } from '../src/index.js';
import { temporaryDirectory } from './tiny-model.js';

async function read(name: string, text: string, options?: RowsOptions): Promise<Row[]> {
  const path = join(await temporaryDirectory(), name);
  await writeFile(path, text);
  return collect(rows(path, options));
}

async function collect(source: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of source) all.push(row);
  return all;
}

const failing = async (run: Promise<unknown>): Promise<string> => {
  const error = await run.then(() => new Error('it did not fail')).catch((e: unknown) => e);
  if (!isPeftError(error)) throw error;
  return `${error.code} ${error.message}`;
};

describe('rows', () => {
  it('takes a TSV cell as it stands: no quoting', async () => {
    expect(await read('x.tsv', 'label\ttext\n0\t"so-called" art\n1\tsay "cheese\n')).toEqual([
      { label: '0', text: '"so-called" art' },
      { label: '1', text: 'say "cheese' },
    ]);
  });

  it('reads quoted cells of a CSV, with line ends and quotes in them', async () => {
    expect(await read('x.csv', 'mr,ref\r\n"a, ""b""","two\nlines"\r\n')).toEqual([{ mr: 'a, "b"', ref: 'two\nlines' }]);
  });

  it('reads JSON lines: numbers and booleans as text, null as nothing', async () => {
    const text = '{"text":"a","label":1}\n\n{"text":"b","label":true,"note":null}';
    expect(await read('x.jsonl', text)).toEqual([
      { text: 'a', label: '1' },
      { text: 'b', label: 'true' },
    ]);
  });

  it('skips a byte order mark', async () => {
    expect(await read('x.csv', '\ufefftext\na\n')).toEqual([{ text: 'a' }]);
    expect(await read('x.jsonl', '\ufeff{"text":"a"}')).toEqual([{ text: 'a' }]);
  });

  it('renames columns and keeps the others', async () => {
    const options = { columns: { text: 'sentence', label: 'y' } };
    expect(await read('x.tsv', 'y\tsentence\tid\n1\ta\t7\n', options)).toEqual([{ id: '7', text: 'a', label: '1' }]);
    expect(await failing(read('x.tsv', 'y\ta\n1\t2\n', options))).toMatch(
      /DATA_INVALID.*no column sentence; it has y, a/,
    );
  });

  it('can be read again', async () => {
    const path = join(await temporaryDirectory(), 'x.tsv');
    await writeFile(path, 'text\na\nb\n');
    const source = rows(path);
    expect(await collect(source)).toEqual(await collect(source));
  });

  it.each([
    ['x.csv', 'a,b\n1\n', /DATA_INVALID.*x\.csv/],
    ['x.csv', 'a,a\n1,2\n', /DATA_INVALID.*"a" twice/],
    ['x.jsonl', '{"a":1}\n{"a":', /DATA_INVALID.*line 2 is not JSON/],
    ['x.jsonl', '[1]', /DATA_INVALID.*not a JSON object/],
    ['x.jsonl', '{"a":[1],"b":{}}', /DATA_INVALID.*a, b/],
    ['x.parquet', '', /CONFIG_INVALID.*"parquet".*csv, tsv, jsonl/],
  ])('refuses %s with %j', async (name, text, message) => {
    expect(await failing(read(name, text))).toMatch(message);
  });

  it('says when the file is missing', async () => {
    expect(await failing(collect(rows('/nowhere/x.tsv')))).toMatch(/FILE_MISSING.*\/nowhere\/x\.tsv/);
  });
});

describe('labelsIn', () => {
  it('orders integers by value and anything else by text', async () => {
    const of = (labels: string[]) => labelsIn(labels.map((label) => ({ label })));
    expect(await of(['10', '2', '0', '2'])).toEqual(['0', '2', '10']);
    expect(await of(['pos', 'neg', 'pos'])).toEqual(['neg', 'pos']);
  });
});

/** Rows and labels of the published data sets. */
const tables = [
  ['sst2', 'train.tsv', 6920, ['0', '1']],
  ['sst5', 'test.tsv', 2210, ['0', '1', '2', '3', '4']],
  ['trec', 'test.tsv', 500, ['0', '1', '2', '3', '4', '5']],
  ['subj', 'dev.tsv', 1000, ['0', '1']],
  ['e2e', 'train.csv', 4672, []],
  ['e2e', 'test.csv', 4693, []],
] as const;

describe('published data sets', () => {
  it.skipIf(!sharedPath('data')).each(tables)('%s/%s has %i rows', async (folder, file, count, labels) => {
    const all = await collect(rows(sharedPath('data', folder, file)!));
    expect(all.length).toBe(count);
    expect(await labelsIn(all)).toEqual(labels);
    const width = Object.keys(all[0]!).length;
    expect(all.filter((row) => Object.keys(row).length !== width)).toEqual([]);
  });
});

describe('imageRows', () => {
  it('takes the folders of a folder as labels, and leaves other files aside', async () => {
    const folder = await temporaryDirectory();
    for (const path of ['dog/b.png', 'dog/a.JPG', 'dog/notes.txt', 'cat/c.jpeg', 'loose.png']) {
      await mkdir(join(folder, path, '..'), { recursive: true });
      await writeFile(join(folder, path), '');
    }
    expect(await collect(imageRows(folder))).toEqual([
      { image: `${folder}/cat/c.jpeg`, label: 'cat' },
      { image: `${folder}/dog/a.JPG`, label: 'dog' },
      { image: `${folder}/dog/b.png`, label: 'dog' },
    ]);
  });

  it('counts the paths of a table from its own folder', async () => {
    const folder = await temporaryDirectory();
    const path = join(folder, 'images.csv');
    await writeFile(path, 'file,label\na.png,x\n/b.png,y\nhttps://host/c.png,z\nC:\\d.png,w\n');
    expect((await collect(imageRows(path, { columns: { image: 'file' } }))).map(({ image }) => image)).toEqual([
      `${folder}/a.png`,
      '/b.png',
      'https://host/c.png',
      'C:\\d.png',
    ]);
    expect(await failing(collect(imageRows(join(folder, 'x.txt'))))).toMatch(/CONFIG_INVALID/);
  });
});
