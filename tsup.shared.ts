import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

/** One build for every package: each source file that its package.json names is an entry, and dist mirrors src. */
const { exports, imports } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, unknown>;
const sources = JSON.stringify([exports, imports]).match(/(?<="\.\/src\/)[^"]+(?=\.ts")/g) ?? [];

export default defineConfig({
  entry: Object.fromEntries(sources.map((source) => [source, `src/${source}.ts`])),
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
