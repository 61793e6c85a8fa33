import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

export interface PageBundle {
  /** TypeScript modules; each becomes NAME.js. */
  readonly entries: Readonly<Record<string, string>>;
  /** The folder that is written. */
  readonly folder: string;
  readonly minify?: boolean;
}

/** Bundles modules of a page from source, with ONNX Runtime's own files beside them. */
export async function bundlePage({ entries, folder, minify = false }: PageBundle): Promise<void> {
  await mkdir(folder, { recursive: true });
  await build({
    entryPoints: { ...entries },
    outdir: folder,
    bundle: true,
    minify,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    conditions: ['@peftjs/source', 'browser'],
    logLevel: 'warning',
    plugins: [runtimeBeside(folder)],
  });
}

/**
 * The runtime stays a module of its own: its threads are workers that load it again by its address, and would otherwise
 * run the page's code.
 */
const runtimeBeside = (folder: string): Plugin => ({
  name: 'runtime-beside',
  setup({ onResolve }) {
    onResolve({ filter: /^onnxruntime-(web|node)/ }, async ({ path }) => {
      if (path === 'onnxruntime-node') return { path, external: true }; // never loaded in a page
      const module = fileURLToPath(import.meta.resolve(path));
      await copyRuntime(module, join(folder, 'ort'));
      return { path: `./ort/${basename(module)}`, external: true };
    });
  },
});

/** The module and the WebAssembly that it names. */
async function copyRuntime(module: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const names = (await readFile(module, 'utf8')).match(/\bort-[\w.-]+\.wasm\b/g) ?? [];
  for (const name of new Set([basename(module), ...names])) await copyFile(join(dirname(module), name), join(to, name));
}
