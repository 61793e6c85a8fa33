// Bundles every export of every package that says it runs in a browser, and fails on a Node built-in or a native
// library on the way. Prints the size of each bundle.
import { builtinModules } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { build } from 'esbuild';
import { packages, report } from './packages.mjs';

const bare = new Set(builtinModules);
const again = Symbol('asked by this check itself');
const problems = [];
let bundles = 0;

for (const { path, manifest } of packages.filter(({ manifest }) => manifest.peftjs?.platforms?.includes('browser'))) {
  const external = Object.keys(manifest.peerDependenciesMeta ?? {}); // native libraries, loaded by those who have them
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    if (!target.default) continue;
    bundles++;
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
    if (result) console.log(`${name}: ${Math.ceil(result.outputFiles[0].contents.length / 1024)} kB`);
  }
}
report('browser', `${bundles} bundles`, problems);

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
