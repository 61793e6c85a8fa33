// The page of all methods: what each reaches on the same data, beside PEFT and full fine-tuning.
import { mean } from '../../benchmarks/measure.js';
import { type Reached, type Step, withSpread } from '../../benchmarks/methods/figures.js';
import { claims, tasks } from '../../benchmarks/methods/recipes.js';
import { passesOver, percent } from './words.js';

/** What the papers say of their methods, beside what is seen here. */
function claimRows(reached: readonly Reached[], steps: readonly Step[]): string[] {
  const of = (recipe: string) => reached.filter((each) => each.recipe.name === recipe);
  const scores = (recipe: string) =>
    of(recipe)
      .map(({ task, accuracy }) => `${task.name} ${mean(accuracy).toFixed(3)}`)
      .join(', ');
  return claims.flatMap(({ says, recipe, beside, seen }) => {
    const [own, other] = [of(recipe)[0], of(beside)[0]];
    if (!own || !other) return [];
    const [step, besideStep] = [recipe, beside].map((name) => steps.find((each) => each.recipe === name));
    const numbers = `${own.trainable} / ${other.trainable}`;
    const bytes = `${own.savedBytes} / ${other.savedBytes}`;
    const time = `${percent(step?.timeOfFull)} / ${percent(besideStep?.timeOfFull)}`;
    const memory = `${percent(step?.memoryOfFull)} / ${percent(besideStep?.memoryOfFull)}`;
    return `| ${says} | ${seen} | ${recipe} / ${beside} | ${scores(recipe)} / ${scores(beside)} | ${numbers} | ${bytes} | ${time} | ${memory} | ${own.note ?? ''} |`;
  });
}

/** The text of docs/methods/README.md. */
export function overviewPage(names: readonly string[], reached: readonly Reached[], steps: readonly Step[]): string {
  const recipes = [...new Map(reached.map(({ recipe }) => [recipe.name, recipe])).values()];
  const rows = recipes.map((recipe) => {
    const own = reached.filter((each) => each.recipe === recipe);
    const step = steps.find((each) => each.recipe === recipe.name);
    const scores = tasks.map(({ name }) => own.find(({ task }) => task.name === name));
    const cells = scores.map((score) => (score ? withSpread(score.accuracy) : ''));
    return `| [${recipe.name}](${recipe.method}.md) | ${recipe.lr} | ${own[0]!.trainable} | ${cells.join(' | ')} | ${own[0]!.savedBytes} | ${step?.seconds.toFixed(3) ?? ''} | ${percent(step?.timeOfFull)} | ${percent(step?.memoryOfFull)} |`;
  });
  const references = [...new Set(tasks.flatMap(({ reference }) => Object.keys(reference)))].map(
    (name) => `| ${name} | | ${tasks.map(({ reference }) => reference[name] ?? '').join(' | ')} | | | | |`,
  );
  return `${[
    '# Methods',
    '',
    `One page each: ${names.map((name) => `[${name}](${name}.md)`).join(', ')}.`,
    '',
    '## What they reach',
    '',
    `The 22M encoder all-MiniLM-L6-v2 as a classifier: ${tasks.map(passesOver).join('; ')} of batches of 32, linear schedule with 6 % warm-up, accuracy on the test set: mean of the seeds and half of the spread between them. Defaults of each method where it has them; rates are of a quick search on TREC, so a difference of a point is no ranking. Trained numbers are those of TREC with its head of 2,310, and so are the bytes saved. \`peft bench methods\` makes the runs and the times: a step of 16 rows of 128 tokens on two threads, its time and the anonymous memory of its process as parts of those of full fine-tuning by PyTorch in the same run. "all layers" trains every weight of attention, feed-forward and norms.`,
    '',
    `| recipe | rate | trained | ${tasks.map(({ name }) => name).join(' | ')} | bytes saved | step s | time of full | memory of full |`,
    `|---|---|---|${tasks.map(() => '---|').join('')}---|---|---|---|`,
    ...rows,
    '',
    'The same recipe with PEFT 0.21.2 and PyTorch, mean of their seeds:',
    '',
    `| | | ${tasks.map(({ name }) => name).join(' | ')} | | | | |`,
    `|---|---|${tasks.map(() => '---|').join('')}---|---|---|---|`,
    ...references,
    '',
    '## What the papers say, and what is seen here',
    '',
    '| paper | here | recipe / beside | accuracy | trained | bytes saved | time of full | memory of full | |',
    '|---|---|---|---|---|---|---|---|---|',
    ...claimRows(reached, steps),
  ].join('\n')}\n`;
}
