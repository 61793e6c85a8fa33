import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

/** One build for every package: each subpath of `exports` with a source condition is an entry. */
const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, unknown> };
const entry: Record<string, string> = {};
for (const target of Object.values(exports)) {
  const { '@peftjs/source': source, default: built } = target as Record<string, string>;
  if (source && built) entry[built.replace(/^\.\/dist\/|\.js$/g, '')] = source;
}

export default defineConfig({
  entry,
  format: ['esm'],
  target: 'es2022',
  platform: 'neutral',
  clean: true,
  dts: false, // declarations come from tsc, see the build script
  sourcemap: true,
  treeshake: true,
  splitting: true,
  external: [/^node:/, /^#/],
});
