import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadPlugins } from '../src/plugins.js';

/** A folder with a plugin that brings one method under another name. */
function folder(packageJson: object): string {
  const directory = mkdtempSync(join(tmpdir(), 'peft-'));
  const lora = pathToFileURL(fileURLToPath(new URL('../../lora/src/index.ts', import.meta.url))).href;
  const core = pathToFileURL(fileURLToPath(new URL('../../core/src/index.ts', import.meta.url))).href;
  const source = `import { defineMethod, definePlugin } from '${core}';
import { lora } from '${lora}';
export default definePlugin({ spec: 'v1', name: 'mine', methods: [defineMethod({ ...lora.method, name: 'mine' })] });`;
  writeFileSync(join(directory, 'mine.ts'), source);
  writeFileSync(join(directory, 'other.mjs'), 'export default { name: "no plugin" };');
  writeFileSync(join(directory, 'package.json'), JSON.stringify(packageJson));
  mkdirSync(join(directory, 'deep'));
  return directory;
}

describe('plugins', () => {
  it('knows the methods of bundled packages', async () => {
    const plugins = await loadPlugins([], tmpdir());
    expect(plugins.bind('lora', { r: 2, lora_alpha: 4 }).config).toMatchObject({ r: 2, alpha: 4 });
    expect(() => plugins.bind('magic', {})).toThrow(/no method "magic"; known: lora/);
  });

  it('wraps methods by the name of a wrapper', async () => {
    const plugins = await loadPlugins([], tmpdir());
    const bound = plugins.bind('lora', { r: 2 });
    const wrapped = plugins.wrap('ist', bound, { trained: 0.5 });
    expect(wrapped.config).toEqual(bound.config);
    expect(wrapped.method.active).toBeDefined();
    expect(() => plugins.wrap('ist', bound, { trained: 2 })).toThrow(/ist.*trained/s);
    expect(() => plugins.wrap('magic', bound, {})).toThrow(/no wrapper "magic"; known: ist/);
  });

  it('finds outside ones by name and in the nearest package.json', async () => {
    const named = await loadPlugins(['./mine.ts'], folder({}));
    expect(named.methods.map(({ method }) => method.name)).toContain('mine');
    const found = await loadPlugins([], join(folder({ peftjs: { plugins: ['../mine.ts'] } }), 'deep'));
    expect(found.bind('mine', { r: 2 }).method.name).toBe('mine');
  });

  it('refuses what is none', async () => {
    await expect(loadPlugins(['./other.mjs'], folder({}))).rejects.toMatchObject({ code: 'PLUGIN_INCOMPATIBLE' });
    await expect(loadPlugins(['no-such-package'], folder({}))).rejects.toMatchObject({ code: 'PLUGIN_INCOMPATIBLE' });
    await expect(loadPlugins([], folder({ peftjs: { plugins: 'x' } }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});
