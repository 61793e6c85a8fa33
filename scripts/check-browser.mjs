// Bundles every export of every package that says it runs in a browser, and fails on a Node built-in or a native
// library on the way, and on a bundle that has outgrown its bound. `--write` sets the bounds anew: what is measured and
// a tenth more.
import { readFileSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { packages, report, root } from './packages.mjs';

/** Largest kB (1024 bytes) of each bundle, minified and packed by gzip. */
const boundsFile = join(root, 'scripts', 'browser-bounds.json');
const bare = new Set(builtinModules);
const again = Symbol('asked by this check itself');
const problems = [];
const sizes = new Map();

for (const { path, manifest } of packages.filter(({ manifest }) => manifest.peftjs?.platforms?.includes('browser'))) {
  const external = Object.keys(manifest.peerDependenciesMeta ?? {}); // native libraries, loaded by those who have them
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    if (!target.default) continue;
    const name = join(manifest.name, subpath);
    const result = await build({
      entryPoints: [join(path, target['@peftjs/source'])],
      bundle: true,
      write: false,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      conditions: ['@peftjs/source', 'browser'],
      external,
      logLevel: 'silent',
      plugins: [{ name: 'no-node', setup: (bundler) => refuseNode(bundler, name) }],
    }).catch((error) => {
      problems.push(`${name}: ${error.message}`);
    });
    if (result) sizes.set(name, measure(result.outputFiles[0].contents));
  }
}
if (process.argv.includes('--write')) writeBounds();
compare(JSON.parse(readFileSync(boundsFile, 'utf8')));
report('browser', `${sizes.size} bundles`, problems);

function refuseNode(bundler, name) {
  bundler.onResolve({ filter: /.*/ }, async ({ path, importer, kind, resolveDir, pluginData }) => {
    if (pluginData === again || (!path.startsWith('node:') && !bare.has(path))) return undefined;
    // A package's own "browser" field may replace a bare built-in; a node: address is always one.
    const replaced = bare.has(path) && (await bundler.resolve(path, { importer, kind, resolveDir, pluginData: again }));
    if (replaced && replaced.errors.length === 0)
      return isAbsolute(replaced.path) ? { path: replaced.path } : { path, namespace: 'left out' };
    problems.push(`${name}: ${importer} imports ${path}`);
    return { path, external: true };
  });
  bundler.onLoad({ filter: /.*/, namespace: 'left out' }, () => ({ contents: '' }));
}

function measure(bytes) {
  const kB = (length) => Math.ceil(length / 1024);
  return { minified: kB(bytes.length), packed: kB(gzipSync(bytes, { level: 9 }).length) };
}

function compare(bounds) {
  for (const [name, { minified, packed }] of sizes) {
    const bound = bounds[name];
    console.log(`${name}: ${packed} of at most ${bound} kB (minified ${minified} kB, packed by gzip)`);
    if (bound === undefined) problems.push(`${name} has no bound: node scripts/check-browser.mjs --write`);
    else if (packed > bound)
      problems.push(`${name} has ${packed} kB, its bound is ${bound} kB: make it smaller, or say why and set it anew`);
  }
  for (const name of Object.keys(bounds))
    if (!sizes.has(name)) problems.push(`${name} has a bound and no bundle: node scripts/check-browser.mjs --write`);
}

function writeBounds() {
  const bounds = [...sizes].map(([name, { packed }]) => [name, Math.ceil(packed * 1.1)]);
  writeFileSync(boundsFile, `${JSON.stringify(Object.fromEntries(bounds), null, 2)}\n`);
}
