import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';

/** Imports every TypeScript module of a folder whose name the pattern matches, by name without extension. */
export async function modulesIn<T>(folder: URL, pattern: RegExp = /^[^.]+\.ts$/): Promise<Map<string, T>> {
  const names = (await readdir(folder)).filter((name) => pattern.test(name)).sort();
  const modules = new Map<string, T>();
  for (const name of names) modules.set(basename(name, '.ts'), (await import(new URL(name, folder).href)) as T);
  return modules;
}
