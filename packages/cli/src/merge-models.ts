import { existsSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { PeftError, type Run, requireStamp, writeAdapter } from '@peftjs/core';
import {
  type AnyLoraMerge,
  loraMerges,
  type MergeEvent,
  type MergeFunction,
  type MergeOptions,
  type MergeResult,
  type MergeSource,
  measureInterference,
  merge,
  mergeAdapters,
  mergeRecipe,
  methodNamed,
  type Recipe,
  reportPage,
} from '@peftjs/merge';
import { weighted } from './adapters.js';
import { isAdapter, type ReadingOptions, readAnyAdapter } from './any-adapter.js';
import type { Context, Result } from './command.js';
import { cookSoup, scoredSoups } from './merge-soups.js';
import { loadPlugins, type Plugins } from './plugins.js';
import { settings } from './settings.js';

/** Options of the command that concern how a merge runs, whatever it merges. */
export interface RunOptions {
  readonly as?: MergeOptions['as'] | undefined;
  readonly rank?: number | undefined;
  readonly energy?: number | undefined;
  readonly outDtype?: MergeOptions['outDtype'] | undefined;
  readonly report?: string | undefined;
  readonly score?: string | undefined;
  readonly threads?: number | undefined;
  readonly seed: number;
  readonly plugin: readonly string[];
}

/** What is merged, with a method that is named. */
export interface NamedMerge {
  readonly method: string;
  readonly base?: string | undefined;
  readonly models: readonly string[];
  readonly set: Readonly<Record<string, unknown>>;
  readonly output: string;
}

type Merges = ReadonlyMap<string, MergeFunction<never>>;

/** Ways to merge by name. @throws PeftError PLUGIN_INCOMPATIBLE */
function mergesOf({ merges }: Plugins): Merges {
  const known = new Map<string, MergeFunction<never>>();
  for (const made of merges) {
    requireStamp(made, 'merge', 'v1', 'A merge of a plugin');
    const method = made as MergeFunction<never>;
    known.set(method.merge.name, method);
  }
  return known;
}

const given = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;

const runOptions = (o: RunOptions, { signal }: Context) => ({
  seed: o.seed,
  signal,
  ...given({ threads: o.threads, outDtype: o.outDtype }),
});

/** Follows a run to its end. */
async function follow<R>(run: Run<MergeEvent, R>, { output }: Context): Promise<R> {
  for await (const { type, ...event } of run) {
    const fields = event as Record<string, unknown>;
    output.event(type, fields);
    if (type === 'warning') output.talk([fields.tensor, fields.message].filter(Boolean).join(': '));
    if (type === 'start')
      output.talk(
        `${fields.parameters} numbers in ${fields.tensors} tensors, about ${Math.ceil(Number(fields.estimatedBytes) / 2 ** 20)} MiB of memory beside the program.`,
      );
    if (type === 'tensor') output.progress(`${fields.done}/${fields.of}  ${fields.tensor}`, Number(fields.share));
  }
  return run.result();
}

const resultOf = ({ tensors, discarded }: MergeResult): Result => ({
  tensors,
  ...(discarded === undefined ? {} : { discarded }),
});

/** An input of a merge with its weight: directories and weights by their path, adapters of other formats as they are. */
async function inputOf(text: string, options: ReadingOptions) {
  const { path, weight } = weighted(text);
  const own = existsSync(path) && !isFolder(path) && (await isAdapter(path, options.plugins));
  const input: MergeSource = own ? await readAnyAdapter(path, options) : path;
  return { input, weight, name: basename(path) };
}

const isFolder = (path: string): boolean => statSync(path).isDirectory();

type Inputs = readonly Awaited<ReturnType<typeof inputOf>>[];

/** Writes how the models get in each other's way: a page, or JSON by the name of the file. */
async function writeReport(
  path: string,
  { base }: NamedMerge,
  inputs: Inputs,
  o: RunOptions,
  context: Context,
): Promise<void> {
  const run = measureInterference(inputs, {
    signal: context.signal,
    ...given({ base, threads: o.threads }),
  });
  const report = await run.result();
  await writeFile(path, path.endsWith('.json') ? `${JSON.stringify(report, null, 2)}\n` : reportPage(report));
  context.output.talk(`How the models lie to each other: ${path}.`);
}

/** Low-rank factors in, low-rank factors out: no base is needed. */
async function mergeFactors(
  make: AnyLoraMerge,
  { models, set, output }: NamedMerge,
  o: RunOptions,
  reading: ReadingOptions & { readonly plugins: Plugins },
): Promise<Result> {
  const { kinds, layouts } = reading.plugins;
  const inputs = [];
  for (const text of models) {
    const { path, weight } = weighted(text);
    inputs.push({ input: await readAnyAdapter(path, reading), weight });
  }
  const { adapter, report } = await mergeAdapters(make(settings(set) as never), inputs, { kinds, seed: o.seed });
  await writeAdapter(output, adapter, { kinds, layouts, ...given({ rank: o.rank, energy: o.energy }) });
  return { tensors: adapter.delta.params.size, ...(report ? { discarded: report.discarded } : {}) };
}

/** Merges with a method by name. @throws PeftError CONFIG_INVALID naming the methods that are known */
export async function mergeNamed(named: NamedMerge, o: RunOptions, context: Context): Promise<Result> {
  const plugins = await loadPlugins(o.plugin);
  const { kinds, layouts } = plugins;
  const reading = { plugins, base: named.base, signal: context.signal, warn: context.output.talk };
  const options = {
    ...runOptions(o, context),
    kinds,
    layouts,
    ...given({ base: named.base, as: o.as, rank: o.rank, energy: o.energy }),
  };
  const inputs = () => Promise.all(named.models.map((text) => inputOf(text, reading)));
  if (scoredSoups.includes(named.method)) {
    const soup = { inputs: await inputs(), set: named.set, output: named.output, score: o.score, options };
    return cookSoup(named.method, soup, context);
  }
  const merges = mergesOf(plugins);
  const { name, config } = methodNamed(named.method);
  const method = merges.get(name);
  const factors = loraMerges.get(named.method);
  if (!method && factors) return mergeFactors(factors, named, o, reading);
  if (!method) {
    const known = ['attach', ...scoredSoups, ...merges.keys(), ...loraMerges.keys()];
    const message = `There is no merge method ${JSON.stringify(named.method)}; known: ${known.join(', ')}.`;
    throw new PeftError('CONFIG_INVALID', message, { details: { method: named.method, known } });
  }
  const bound = method({ ...config, ...settings(named.set) } as never);
  const opened = await inputs();
  if (o.report !== undefined) await writeReport(o.report, named, opened, o, context);
  const run = merge(bound, opened, { ...options, output: named.output });
  return resultOf(await follow(run, context));
}

/** Does what a mergekit recipe says. A relative path is looked for from here, then beside the recipe. */
export async function mergeByRecipe(
  recipe: Recipe,
  file: string,
  output: string,
  o: RunOptions,
  context: Context,
): Promise<Result> {
  const plugins = await loadPlugins(o.plugin);
  const beside = (path: string) => resolve(dirname(file), path);
  const locate = (path: string) => (!existsSync(path) && existsSync(beside(path)) ? beside(path) : path);
  const { kinds, layouts } = plugins;
  const merges = mergesOf(plugins);
  const run = mergeRecipe(recipe, { ...runOptions(o, context), kinds, layouts, output, merges, locate });
  return resultOf(await follow(run, context));
}
