import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { methodTemplate, type Names } from './method-template.js';

const repository = fileURLToPath(new URL('..', import.meta.url));

/** @throws Error when the name cannot be that of a package, a folder and a constant */
export function namesOf(name: string): Names {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
    throw new Error(`"${name}" is not a method's name: lower case letters, digits and single dashes, e.g. my-method.`);
  }
  const constant = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return { name, constant, type: constant[0]!.toUpperCase() + constant.slice(1) };
}

/**
 * Writes packages/NAME and a changeset under `root`, and adds the package to those that the command brings. The manifest
 * and the build configuration are those of packages/lora, so that a new method starts where the others are.
 * @returns the paths written, relative to `root`
 */
export function newMethod(name: string, root = repository): string[] {
  const names = namesOf(name);
  const folder = join('packages', name);
  if (existsSync(join(root, folder))) throw new Error(`${folder} is there already. Choose another name.`);

  const image = (file: string) => readFileSync(join(repository, 'packages', 'lora', file), 'utf8');
  const manifest = JSON.parse(image('package.json')) as Record<string, unknown>;
  const files: Record<string, string> = {
    [join(folder, 'package.json')]: `${JSON.stringify(
      { ...manifest, name: `@peftjs/${name}`, version: '1.0.0', description: `${names.type} for peftjs.` },
      null,
      2,
    )}\n`,
    [join(folder, 'tsconfig.build.json')]: image('tsconfig.build.json'),
    [join('.changeset', `new-${name}.md`)]: `---\n'@peftjs/${name}': minor\n---\n\n${names.type}: a new method.\n`,
  };
  for (const [file, text] of Object.entries(methodTemplate(names))) files[join(folder, file)] = text;

  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text, { flag: 'wx' });
  }
  return [...Object.keys(files), ...joinCommand(names, root)];
}

/** Makes the package one of the command's. @returns the paths changed */
function joinCommand({ name }: Names, root: string): string[] {
  const [manifest, bundled] = ['package.json', join('src', 'bundled.ts')].map((file) => join('packages', 'cli', file));
  const change = (file: string, edit: (text: string) => string) => {
    writeFileSync(join(root, file), edit(readFileSync(join(root, file), 'utf8')));
    return file;
  };
  return [
    change(manifest!, (text) => {
      const manifest = JSON.parse(text) as { dependencies: Record<string, string> };
      manifest.dependencies[`@peftjs/${name}`] = '^1.0.0';
      return `${JSON.stringify(manifest, null, 2)}\n`;
    }),
    change(bundled!, (text) => text.replace(/\];\n$/, `  () => import('@peftjs/${name}'),\n];\n`)),
  ];
}

if (import.meta.url === pathToFileURL(resolve(process.argv[1] ?? '')).href) {
  const [name = ''] = process.argv.slice(2);
  try {
    console.log(newMethod(name).join('\n'));
    console.log(`\nNow: npm install && npx vitest run packages/${name}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  }
}
