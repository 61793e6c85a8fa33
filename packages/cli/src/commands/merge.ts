import { readFile } from 'node:fs/promises';
import { PeftError } from '@peftjs/core';
import { parse } from 'yaml';
import { z } from 'zod';
import { readAdapters } from '../adapters.js';
import { type Context, defineCommand, type Result } from '../command.js';
import { common } from '../common.js';
import { pairs, repeated } from '../fields.js';
import { writeMerged } from '../merge-attach.js';
import { camelCase } from '../names.js';
import { loadPlugins } from '../plugins.js';
import { labelsOf, openModel, taskOf } from '../tasks.js';
import { UsageError, usageOf } from '../usage.js';

const options = z.object({
  method: z.string().optional().meta({ flags: '--method <name>', description: 'attach: an adapter into its base' }),
  base: z.string().optional().meta({ flags: '--base <dir>', description: 'the base model' }),
  models: repeated().meta({ flags: '--models <dir[:weight]...>', description: 'what is merged' }),
  set: pairs().meta({ flags: '--set <key=value...>', description: "keys of the method's own configuration" }),
  output: z.string().optional().meta({ flags: '--output <dir>', description: 'where the result is written' }),
  ...common,
});

/** A merge with nothing left open. */
const Recipe = z.strictObject({
  method: z.string(),
  base: z.string(),
  models: repeated().refine((models) => models.length > 0, { error: 'names nothing to merge' }),
  set: z.record(z.string(), z.unknown()).default({}),
  output: z.string(),
});
type Recipe = z.output<typeof Recipe>;

/** What a method does with a recipe. */
type Merge = (recipe: Recipe, context: Context, plugin: readonly string[]) => Promise<Result>;

const attach: Merge = async ({ base, models, set, output: directory }, { output }, plugin) => {
  if (Object.keys(set).length > 0)
    throw new UsageError([`--set: the method attach has no keys, given ${Object.keys(set).join(', ')}`]);
  const plugins = await loadPlugins(plugin);
  const adapter = (await readAdapters(models, plugins, output.talk))!;
  const labels = labelsOf(adapter);
  const model = await openModel(base, await taskOf(base, adapter), { labels, newHead: labels !== undefined });
  return writeMerged(model, adapter, directory, plugins.kinds);
};

/** Merges by the name of their method. */
const merges: Readonly<Record<string, Merge>> = { attach };

async function recipeOf(o: z.output<typeof options>, [file, out]: readonly string[]): Promise<Recipe> {
  const read = file === undefined ? {} : (parse(await readFile(file, 'utf8')) as Record<string, unknown>);
  const { method, base, set, output = out } = o;
  const given = {
    method,
    base,
    output,
    ...(o.models.length > 0 ? { models: o.models } : {}),
    ...(Object.keys(set).length > 0 ? { set } : {}),
  };
  const keys = Object.entries(read).map(([key, value]) => [camelCase(key), value]);
  const set_ = Object.entries(given).filter(([, value]) => value !== undefined);
  const parsed = Recipe.safeParse(Object.fromEntries([...keys, ...set_]));
  if (parsed.success) return parsed.data;
  throw usageOf(parsed.error, (key) => (file === undefined ? `--${key}` : key));
}

export const merge = defineCommand({
  name: 'merge',
  summary: 'merges adapters into a base',
  arguments: [
    ['[recipe]', 'YAML file with method, base, models, set'],
    ['[out]', 'where the result is written'],
  ],
  options,
  examples: ['peft merge --method attach --base ./base --models ./adapter --output ./merged'],
  async run(o, context, args) {
    const began = performance.now();
    const recipe = await recipeOf(o, args);
    const perform = merges[recipe.method];
    if (!perform) {
      const known = Object.keys(merges);
      const message = `There is no merge method ${JSON.stringify(recipe.method)}; known: ${known.join(', ')}.`;
      throw new PeftError('CONFIG_INVALID', message, { details: { method: recipe.method, known } });
    }
    const result = await perform(recipe, context, o.plugin);
    context.output.talk(`Written to ${recipe.output}.`);
    return {
      method: recipe.method,
      ...result,
      seconds: (performance.now() - began) / 1000,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      output: recipe.output,
    };
  },
});
