import { listDirectory } from '@peftjs/core/files';
import { type Row, type RowsOptions, rows } from './read.js';

const picture = /\.(png|jpe?g)$/i;

/** Paths that do not count from a folder: absolute ones, and addresses. */
const whole = /^([/\\]|[a-z]:[/\\]|[a-z][a-z+.-]+:\/\/)/i;

/**
 * The rows of a set of pictures (columns `image` and `label`): a folder that has one folder of PNG and JPEG files for
 * each label, or a table as `rows` reads it, whose paths count from the table's own folder.
 * @throws PeftError CONFIG_INVALID for a file that is no table; while iterating as `rows`
 */
export function imageRows(path: string, options: RowsOptions = {}): AsyncIterable<Row> {
  return {
    async *[Symbol.asyncIterator]() {
      const names = await listDirectory(path);
      if (names) yield* labelFolders(path, names);
      else yield* table(path, options);
    },
  };
}

async function* labelFolders(folder: string, labels: readonly string[]): AsyncGenerator<Row> {
  for (const label of labels) {
    const files = (await listDirectory(`${folder}/${label}`)) ?? [];
    for (const file of files) if (picture.test(file)) yield { image: `${folder}/${label}/${file}`, label };
  }
}

async function* table(path: string, options: RowsOptions): AsyncGenerator<Row> {
  const folder = path.replace(/[^/\\]*$/, '');
  for await (const row of rows(path, options)) {
    const { image } = row;
    yield image === undefined || whole.test(image) ? row : { ...row, image: `${folder}${image}` };
  }
}
