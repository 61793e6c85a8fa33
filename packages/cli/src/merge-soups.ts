import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { PeftError } from '@peftjs/core';
import {
  greedySoup,
  learnedSoup,
  linear,
  type MergeOptions,
  merge,
  slopesFromScores,
  type WeightedSource,
} from '@peftjs/merge';
import * as z from 'zod';
import type { Context, Result } from './command.js';
import { integer, positive } from './fields.js';
import { camelCase } from './names.js';
import { scoreOf } from './score-command.js';
import { settings } from './settings.js';
import { UsageError, usageOf } from './usage.js';

/** A soup whose shares a score decides. */
export interface ScoredSoup {
  readonly inputs: readonly (WeightedSource & { readonly name: string })[];
  readonly set: Readonly<Record<string, unknown>>;
  readonly output: string;
  readonly score: string | undefined;
  /** What else a merge of these models is told. */
  readonly options: MergeOptions;
}

interface Kitchen {
  readonly names: readonly string[];
  /** The score of the models with these shares. */
  score(shares: readonly number[]): Promise<number>;
  readonly set: Readonly<Record<string, unknown>>;
  readonly context: Context;
}

/** Shares of the models, and what there is to tell about how they were found. */
type Recipe = (kitchen: Kitchen) => Promise<{ readonly shares: readonly number[]; readonly found: Result }>;

function read<S extends z.ZodObject>(schema: S, set: Readonly<Record<string, unknown>>): z.output<S> {
  const keys = Object.entries(settings(set)).map(([key, value]) => [camelCase(key), value]);
  const parsed = schema.strict().safeParse(Object.fromEntries(keys));
  if (parsed.success) return parsed.data as z.output<S>;
  throw usageOf(parsed.error, (key) => `--set ${key}`);
}

const GreedySettings = z.object({
  accept: z.enum(['gt', 'gte']).default('gt'),
  tieOrder: z.enum(['later', 'earlier']).default('later'),
});

const greedy: Recipe = async ({ names, score, set, context }) => {
  const uniform = (ingredients: readonly number[]) =>
    names.map((_, i) => (ingredients.includes(i) ? 1 / ingredients.length : 0));
  const soup = await greedySoup({
    candidates: names,
    ...read(GreedySettings, set),
    async score(ingredients) {
      const value = await score(uniform(ingredients));
      context.output.talk(`${ingredients.map((i) => names[i]).join(' + ')}: ${value}`);
      return value;
    },
  });
  const { ingredients, individual, steps } = soup;
  const found = { ingredients: ingredients.map((i) => names[i]!), score: soup.score, individual, steps };
  return { shares: uniform(ingredients), found };
};

const LearnedSettings = z.object({
  steps: integer(1).default(20),
  lr: positive().default(0.05),
  difference: positive().default(0.1),
});

const learned: Recipe = async ({ names, score, set, context }) => {
  const { steps, lr, difference } = read(LearnedSettings, set);
  const evaluate = slopesFromScores((alpha) => score([...alpha]), difference);
  let step = 0;
  const soup = await learnedSoup({
    tensors: 1,
    models: names.length,
    steps,
    lr,
    beta: false,
    async evaluate(alpha, beta) {
      const slopes = await evaluate(alpha, beta);
      context.output.talk(`Step ${++step} of ${steps}: ${-slopes.loss}`);
      return slopes;
    },
  });
  const shares = [...soup.alpha[0]!];
  return { shares, found: { shares, scores: soup.losses.map((loss) => -loss) } };
};

/** Soups that need a score. */
const recipes: Readonly<Record<string, Recipe>> = { greedy_soup: greedy, learned_soup: learned };

export const scoredSoups: readonly string[] = Object.keys(recipes);

/**
 * Finds the shares by trial: each trial is written beside the output as the result will be, scored, and removed.
 * @throws UsageError without a score command, or with weights
 */
export async function cookSoup(method: string, soup: ScoredSoup, context: Context): Promise<Result> {
  const { score: command, inputs, output, options } = soup;
  const problems = inputs.some(({ weight }) => weight !== 1) ? [`--models: ${method} finds the weights itself`] : [];
  if (command === undefined) problems.push(`--score is missing: ${method} tries soups and asks it which are better`);
  if (problems.length > 0) throw new UsageError(problems);
  const blend = (shares: readonly number[], to: string) => {
    const used = inputs.flatMap((input, i) => (shares[i] === 0 ? [] : [{ ...input, weight: shares[i]! }]));
    return merge(linear({ normalize: false }), used, { ...options, output: to }).result();
  };
  const folder = await mkdtemp(join(dirname(resolve(output)), '.soup-'));
  let trials = 0;
  try {
    const { shares, found } = await recipes[method]!({
      names: inputs.map(({ name }) => name),
      set: soup.set,
      context,
      async score(shares) {
        if (context.signal.aborted) throw new PeftError('CANCELLED', 'The search for a soup was cancelled.');
        const trial = join(folder, String(++trials));
        try {
          await blend(shares, trial);
          return await scoreOf(command!, trial, context.signal);
        } finally {
          await rm(trial, { recursive: true, force: true });
        }
      },
    });
    const { tensors } = await blend(shares, output);
    return { ...found, trials, tensors };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
