import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundlePage } from '../../scripts/browser/bundle.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Writes the page as a folder of static files that any server can serve. */
export async function buildPage(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const name of ['index.html', 'style.css', 'icon.svg']) await cp(here(`page/${name}`), join(folder, name));
  await cp(here('../demo/base'), join(folder, 'base'), { recursive: true });
  const entries = { page: here('page/page.ts'), worker: here('page/worker.ts') };
  await bundlePage({ entries, folder, minify: true });
}
