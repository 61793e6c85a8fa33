import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend } from '@peftjs/core';
import { type Listed, type RunContext, readJson } from '../case.js';
import { modulesIn } from '../modules.js';

/** A module `formats-NAME.ts`: functions `...Cases` of the goldens folder and a backend, each giving cases of a format. */
type FormatModule = Readonly<Record<string, unknown>>;

type List = (folder: string, backend: Backend) => AsyncIterable<Listed>;

const listsOf = (module: FormatModule): List[] =>
  Object.entries(module).flatMap(([name, value]) => (name.endsWith('Cases') ? [value as List] : []));

const spelled = (name: string): string => name.replaceAll('_', '-');

/** Entries of an index that are cases: the members of its lists. */
const entriesOf = (index: unknown): unknown[] =>
  Array.isArray(index)
    ? index
    : Object.values(index as object)
        .filter(Array.isArray)
        .flat();

/** The cases of a format that no module runs, one for each entry of its indexes. */
async function* unknownFormat(folder: string, format: string): AsyncGenerator<Listed> {
  const root = join(folder, 'formats', format);
  for (const file of (await readdir(root)).filter((name) => name.endsWith('.json'))) {
    for (const [i] of entriesOf(await readJson(root, file)).entries()) {
      yield { kind: `formats/${spelled(format)}`, name: `${format}/${file} ${i}` };
    }
  }
}

/** File formats: the modules `formats-*.ts` beside this folder, and every format of the goldens that has none. */
export async function* cases(folder: string, { backend }: RunContext): AsyncGenerator<Listed> {
  const modules = await modulesIn<FormatModule>(new URL('../', import.meta.url), /^formats-[^.]+\.ts$/);
  const formats = await readdir(join(folder, 'formats'), { withFileTypes: true });
  for (const [name, module] of modules) {
    const format = name.slice('formats-'.length);
    for (const list of listsOf(module)) {
      for await (const found of list(folder, backend)) yield { ...found, kind: `formats/${format}/${found.kind}` };
    }
  }
  for (const format of formats.filter((entry) => entry.isDirectory())) {
    if (!modules.has(`formats-${spelled(format.name)}`)) yield* unknownFormat(folder, format.name);
  }
}
