import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { blobSource, type FileSet } from '@peftjs/core/files';
import { describe, expect, it } from 'vitest';
import { loadModel, sequenceClassification } from '../src/index.js';

const folder = fileURLToPath(new URL('../../../examples/fixtures/encoder', import.meta.url));
const task = sequenceClassification({ labels: ['negative', 'positive'] });

/** The folder as a page has it: each file fetched whole, 404 for the others. */
const fetched: FileSet = {
  name: 'https://example.org/encoder',
  async open(name) {
    const bytes = await readFile(`${folder}/${name}`).catch(() => undefined);
    return bytes && blobSource(new Blob([bytes]), name);
  },
};

describe('a model of files without a folder', () => {
  it('is the same model', async () => {
    const [own, page] = [await loadModel(folder, { task }), await loadModel(fetched, { task })];
    expect(await page.digest()).toBe(await own.digest());
    expect(page.tokenizer!.encode('a fine film').ids).toEqual(own.tokenizer!.encode('a fine film').ids);
    expect(page.targets.map(({ path }) => path)).toEqual(own.targets.map(({ path }) => path));
    expect([page.name, page.directory]).toEqual(['encoder', 'https://example.org/encoder']);
  });

  it('says what is missing', async () => {
    const none: FileSet = { name: 'the chosen files', open: async () => undefined };
    await expect(loadModel(none, { task })).rejects.toMatchObject({
      code: 'FILE_MISSING',
      message: expect.stringContaining('"the chosen files" has no config.json'),
    });
  });
});
