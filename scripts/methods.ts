import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyMethod, Plugin } from '@peftjs/core';
import { packages } from './packages.mjs';

type Manifest = (typeof packages)[number]['manifest'];

/** What the packages bring: the default export of every one that defines a plugin. */
export async function allPlugins(): Promise<{ readonly plugin: Plugin; readonly manifest: Manifest }[]> {
  const found: { plugin: Plugin; manifest: Manifest }[] = [];
  for (const { path, manifest } of packages) {
    const entry = join(path, 'src', 'index.ts');
    if (!existsSync(entry) || !readFileSync(entry, 'utf8').includes('definePlugin')) continue;
    const { default: plugin } = (await import(entry)) as { default?: Plugin };
    if (plugin) found.push({ plugin, manifest });
  }
  return found;
}

/** Every training method of the packages. */
export const allMethods = async (): Promise<AnyMethod[]> =>
  (await allPlugins()).flatMap(({ plugin }) => plugin.methods ?? []);
