import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  type AnyCodec,
  type AnyMethod,
  type Bound,
  PeftError,
  type Plugin,
  stampOf,
  withKinds,
  withLayouts,
} from '@peftjs/core';
import { bundled } from './bundled.js';

/** What the given packages bring, by name. */
export interface Plugins {
  /**
   * A method with its configuration.
   * @throws PeftError CONFIG_INVALID naming the methods that are known, or listing what is wrong with the options
   */
  bind(name: string, options: Readonly<Record<string, unknown>>): Bound;
  /**
   * The method in a wrapper.
   * @throws PeftError CONFIG_INVALID naming the wrappers that are known, or what the wrapper refuses
   */
  wrap(name: string, bound: Bound, options: Readonly<Record<string, unknown>>): Bound;
  readonly methods: readonly AnyMethod[];
  readonly codecs: readonly AnyCodec[];
  /** Ways to merge whole models, as @peftjs/merge defines them. */
  readonly merges: readonly object[];
  readonly kinds: ReturnType<typeof withKinds>;
  readonly layouts: ReturnType<typeof withLayouts>;
}

/** The bundled packages, those of the nearest package.json (`peftjs.plugins`) and those named on the command line. */
export async function loadPlugins(names: readonly string[], directory = process.cwd()): Promise<Plugins> {
  const outside = [...new Set([...(await configured(directory)), ...names])];
  const modules = [
    ...(await Promise.all(bundled.map((load) => load()))),
    ...(await Promise.all(outside.map((name) => importFrom(name, directory)))),
  ];
  const plugins = modules.map((module, i) =>
    checked(module.default, outside[i - bundled.length] ?? 'a bundled package'),
  );
  const methods = plugins.flatMap((plugin) => plugin.methods ?? []);
  const wrappers = plugins.flatMap((plugin) => plugin.wrappers ?? []);
  return {
    methods,
    codecs: plugins.flatMap((plugin) => plugin.codecs ?? []),
    merges: plugins.flatMap((plugin) => plugin.merges ?? []),
    kinds: withKinds(...plugins.flatMap((plugin) => plugin.kinds ?? [])),
    layouts: withLayouts(...plugins.flatMap((plugin) => plugin.layouts ?? [])),
    bind(name, options) {
      const found = methods.find(({ method }) => method.name === name);
      if (found) return found(options as never);
      throw unknown(
        'method',
        name,
        methods.map(({ method }) => method.name),
      );
    },
    wrap(name, bound, options) {
      const found = wrappers.find((wrapper) => wrapper.name === name);
      if (found) return found.wrap(bound, options);
      throw unknown(
        'wrapper',
        name,
        wrappers.map((wrapper) => wrapper.name),
      );
    },
  };
}

const unknown = (what: string, name: string, known: readonly string[]) =>
  new PeftError(
    'CONFIG_INVALID',
    `There is no ${what} ${JSON.stringify(name)}; known: ${known.join(', ')}. Others come with --plugin PACKAGE.`,
    { details: { [what]: name, known } },
  );

interface Module {
  readonly default?: unknown;
}

/** A package seen from the user's folder, then from here; or a file. */
async function importFrom(name: string, directory: string): Promise<Module> {
  const file = /^[./]/.test(name) ? resolve(directory, name) : undefined;
  try {
    return await import(file ? pathToFileURL(file).href : located(name, directory));
  } catch (cause) {
    const message = `The plugin ${JSON.stringify(name)} cannot be loaded: ${(cause as Error).message}`;
    throw new PeftError('PLUGIN_INCOMPATIBLE', message, { cause, details: { plugin: name } });
  }
}

function located(name: string, directory: string): string {
  try {
    return pathToFileURL(createRequire(join(directory, 'package.json')).resolve(name)).href;
  } catch {
    return name;
  }
}

function checked(exported: unknown, name: string): Plugin {
  const stamp = stampOf(exported);
  if (stamp?.kind === 'plugin' && stamp.spec === 'v1') return exported as Plugin;
  throw new PeftError(
    'PLUGIN_INCOMPATIBLE',
    `The default export of ${name} was not made by definePlugin of this version.`,
    {
      details: { plugin: name, found: stamp },
    },
  );
}

/** `peftjs.plugins` of the nearest package.json. */
async function configured(directory: string): Promise<readonly string[]> {
  const path = join(directory, 'package.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return dirname(directory) === directory ? [] : configured(dirname(directory));
  const { peftjs } = JSON.parse(text) as { peftjs?: { plugins?: unknown } };
  const { plugins = [] } = peftjs ?? {};
  if (Array.isArray(plugins) && plugins.every((name) => typeof name === 'string')) return plugins;
  throw new PeftError('CONFIG_INVALID', `"peftjs.plugins" of ${path} is not a list of package names.`, {
    details: { path },
  });
}
