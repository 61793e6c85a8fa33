import { readFile } from 'node:fs/promises';
import { PeftError } from '@peftjs/core';
import { readRecipe } from '@peftjs/merge';
import { parse } from 'yaml';
import * as z from 'zod';
import { readAdapters } from '../adapters.js';
import { type Context, defineCommand, type Result } from '../command.js';
import { common } from '../common.js';
import { fraction, integer, pairs, repeated } from '../fields.js';
import { writeMerged } from '../merge-attach.js';
import { mergeByRecipe, mergeNamed, type RunOptions } from '../merge-models.js';
import { scoredSoups } from '../merge-soups.js';
import { camelCase } from '../names.js';
import { loadPlugins } from '../plugins.js';
import { openFor } from '../tasks.js';
import { UsageError, usageOf } from '../usage.js';

const options = z.object({
  method: z
    .string()
    .optional()
    .meta({ flags: '--method <name>', description: 'attach (an adapter into its base), linear, ties, dare_ties, ...' }),
  base: z.string().optional().meta({ flags: '--base <dir>', description: 'the base model' }),
  models: repeated().meta({
    flags: '--models <dir:weight...>',
    description: 'what is merged; a weight is 1 unless it is given',
  }),
  set: pairs().meta({ flags: '--set <key=value...>', description: "keys of the method's own configuration" }),
  output: z.string().optional().meta({ flags: '--output <dir>', description: 'where the result is written' }),
  as: z
    .enum(['checkpoint', 'adapter', 'delta'])
    .optional()
    .meta({ flags: '--as <form>', description: 'checkpoint, adapter (with --rank or --energy) or delta' }),
  rank: integer(1).optional().meta({ flags: '--rank <n>', description: 'rank of a result that is an adapter' }),
  energy: fraction().optional().meta({ flags: '--energy <part>', description: 'or the share that it keeps' }),
  outDtype: z
    .enum(['f32', 'f16', 'bf16'])
    .optional()
    .meta({ flags: '--out-dtype <name>', description: "f32, f16 or bf16 (default: the base's)" }),
  score: z.string().optional().meta({
    flags: '--score <command>',
    typedOnly: true,
    description: 'for greedy_soup and learned_soup: prints the score of the model at {}, higher is better',
  }),
  report: z
    .string()
    .optional()
    .meta({ flags: '--report <file>', description: 'how the models lie to each other: .html or .json' }),
  ...common,
});
type Options = z.output<typeof options>;

/** A merge with nothing left open. */
const Named = z.strictObject({
  method: z.string(),
  base: z.string().optional(),
  models: repeated().refine((models) => models.length > 0, { error: 'names nothing to merge' }),
  set: z.record(z.string(), z.unknown()).default({}),
  output: z.string(),
});
type Named = z.output<typeof Named>;

async function attach({ base, models, set, output: directory }: Named, { output, signal }: Context, o: RunOptions) {
  if (Object.keys(set).length > 0)
    throw new UsageError([`--set: the method attach has no keys, given ${Object.keys(set).join(', ')}`]);
  if (base === undefined) throw new UsageError(['--base is missing']);
  const plugins = await loadPlugins(o.plugin);
  const adapter = (await readAdapters(models, { plugins, base, signal, warn: output.talk }))!;
  return writeMerged(await openFor(base, adapter), adapter, directory, { kinds: plugins.kinds, signal });
}

/** A file with the command's own keys, or the text of a mergekit recipe. */
async function readFileOf(file: string): Promise<{ own: Record<string, unknown> } | { recipe: string }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new PeftError('FILE_MISSING', `${file} cannot be read.`, { cause, details: { path: file } });
  });
  const content: unknown = parse(text);
  const isMapping = typeof content === 'object' && content !== null && !Array.isArray(content);
  if (!isMapping) throw new UsageError([`${file} is no recipe: it must be a mapping`]);
  return 'merge_method' in content ? { recipe: text } : { own: content as Record<string, unknown> };
}

/** The merge that options and file name together; options come first. @throws UsageError */
function namedOf(
  o: Options,
  own: Readonly<Record<string, unknown>>,
  out: string | undefined,
  fromFile: boolean,
): Named {
  const { method, base, set, output = out } = o;
  const given = {
    method,
    base,
    output,
    ...(o.models.length > 0 ? { models: o.models } : {}),
    ...(Object.keys(set).length > 0 ? { set } : {}),
  };
  const keys = Object.entries(own).map(([key, value]) => [camelCase(key), value]);
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  const parsed = Named.safeParse(Object.fromEntries([...keys, ...present]));
  if (parsed.success) return parsed.data;
  throw usageOf(parsed.error, (key) => (fromFile ? key : `--${key}`));
}

/** A recipe says everything itself. @throws UsageError */
function outputOfRecipe(
  { output, method, base, models, set, as, report, score }: Options,
  out: string | undefined,
): string {
  const twice = Object.entries({ method, base, as, report, score }).flatMap(([key, value]) =>
    value === undefined ? [] : [key],
  );
  if (models.length > 0) twice.push('models');
  if (Object.keys(set).length > 0) twice.push('set');
  const problems = twice.map((key) => `--${key}: not beside a recipe with merge_method`);
  const path = output ?? out;
  if (path === undefined) problems.push('the path of the result is missing: peft merge RECIPE.yml OUT');
  if (problems.length > 0) throw new UsageError(problems);
  return path!;
}

export const merge = defineCommand({
  name: 'merge',
  summary: 'merges checkpoints, adapters and deltas',
  arguments: [
    ['[recipe]', 'a mergekit recipe, or a YAML file with method, base, models, set'],
    ['[out]', 'where the result is written'],
  ],
  options,
  examples: [
    'peft merge recipe.yml ./merged',
    'peft merge --method ties --base ./base --models ./a:0.5 ./b:0.3 --set density=0.2 --output ./merged',
    "peft merge --method greedy_soup --models ./a ./b ./c --score './score.sh {}' --output ./soup",
    'peft merge --method attach --base ./base --models ./adapter --output ./merged',
  ],
  async run(o, context, [file, out]) {
    const began = performance.now();
    const read = file === undefined ? { own: {} } : await readFileOf(file);
    const done = async (): Promise<{ method: string; output: string; result: Result }> => {
      if ('recipe' in read) {
        const output = outputOfRecipe(o, out);
        const recipe = readRecipe(read.recipe, file);
        return { method: recipe.method, output, result: await mergeByRecipe(recipe, file!, output, o, context) };
      }
      const named = namedOf(o, read.own, out, file !== undefined);
      if (o.score !== undefined && !scoredSoups.includes(named.method))
        throw new UsageError([`--score: only ${scoredSoups.join(' and ')} ask for scores`]);
      const result = await (named.method === 'attach' ? attach(named, context, o) : mergeNamed(named, o, context));
      return { method: named.method, output: named.output, result };
    };
    const { method, output, result } = await done();
    context.output.talk(`Written to ${output}.`);
    return {
      method,
      ...result,
      seconds: (performance.now() - began) / 1000,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      output,
    };
  },
});
