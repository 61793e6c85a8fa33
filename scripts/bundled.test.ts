import { expect, it } from 'vitest';
import { bundled } from '../packages/cli/src/bundled.js';
import { allPlugins } from './methods.js';

it('the command brings every package that defines a plugin', async () => {
  const names = async (plugins: Promise<{ readonly name: string }[]>) => (await plugins).map(({ name }) => name).sort();
  const brought = Promise.all(bundled.map(async (load) => (await load()).default));
  const defined = allPlugins().then((all) => all.map(({ plugin }) => plugin));
  expect(await names(brought)).toEqual(await names(defined));
});
