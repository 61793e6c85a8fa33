// The page of what merging and compressing cost on real data, from the newest reports of `peft bench deltas` and `merge`.
import { mean } from '../../benchmarks/measure.js';
import { kept } from '../../benchmarks/report.js';

type Accuracy = Readonly<Record<string, number>>;

interface Seed {
  readonly seed: number;
  readonly alone: { readonly accuracy: Accuracy };
  readonly headOnly: { readonly accuracy: Accuracy };
  readonly merged: readonly { readonly name: string; readonly accuracy: Accuracy }[];
  readonly compressed: readonly {
    readonly task: string;
    readonly codecs: readonly { readonly codec: string; readonly ratio: number; readonly accuracy: number }[];
  }[];
}

interface Deltas {
  readonly sizes: { readonly epochs: number; readonly test: number | null };
  readonly results: readonly Seed[];
}

interface Figure {
  readonly ours?: number;
  readonly peer?: number;
  readonly ratio?: number;
}

interface Merges {
  readonly megabytes: number;
  readonly dtype: string;
  readonly cores: number;
  readonly results: readonly {
    readonly name: string;
    readonly rounds: number;
    readonly seconds: Figure;
    readonly anonymousBytes: Figure;
  }[];
}

const three = (values: readonly number[]): string => mean(values).toFixed(3);

/** One row: a name, the mean of the seeds for each task, and the mean of the tasks. */
function row(name: string, tasks: readonly string[], seeds: readonly Accuracy[]): string {
  const perTask = tasks.map((task) => seeds.map((seed) => seed[task]!));
  return `| ${[name, ...perTask.map(three), three(perTask.flat())].join(' | ')} |`;
}

function accuracies({ sizes, results }: Deltas): string[] {
  const [first] = results;
  if (!first) return [];
  const tasks = Object.keys(first.alone.accuracy);
  const merged = first.merged.map(({ name }, i) => ({
    name: `\`${name}\``,
    seeds: results.map((seed) => seed.merged[i]!.accuracy),
  }));
  const codecs = first.compressed[0]!.codecs.map(({ codec }, i) => {
    const own = results.map(({ compressed }) => compressed.map((task) => task.codecs[i]!));
    const ratio = mean(own.flat().map((each) => each.ratio)).toFixed(1);
    const seeds = own.map((of) => Object.fromEntries(of.map(({ accuracy }, t) => [tasks[t]!, accuracy])));
    return { name: `${codec} | ${ratio}`, seeds };
  });
  const average = ({ seeds }: { readonly seeds: readonly Accuracy[] }) => mean(seeds.flatMap(Object.values));
  const head = (names: string) => [
    `| ${names} | ${tasks.join(' | ')} | mean |`,
    `|---|${names
      .split('|')
      .slice(1)
      .map(() => '---|')
      .join('')}${tasks.map(() => '---|').join('')}---|`,
  ];
  return [
    '## On real data',
    '',
    `LoRA of rank 8 on query and value of the 22M encoder all-MiniLM-L6-v2, ${sizes.epochs} epochs of each data set${sizes.test ? `, accuracy on ${sizes.test} test rows of each` : ', accuracy on all test rows'}; seeds ${results.map(({ seed }) => seed).join(', ')}. Merged: one update for all three tasks, each with its own head, sorted by the mean; methods that need more than updates of low rank are left out.`,
    '',
    ...head(''),
    row(
      'each alone',
      tasks,
      results.map(({ alone }) => alone.accuracy),
    ),
    row(
      'heads over the base',
      tasks,
      results.map(({ headOnly }) => headOnly.accuracy),
    ),
    ...merged.sort((a, b) => average(b) - average(a)).map(({ name, seeds }) => row(name, tasks, seeds)),
    '',
    "Compressed: the ratio is to the float16 bytes of the adapter's factors, heads apart on both sides.",
    '',
    ...head('| ratio'),
    row(
      'as trained | 1',
      tasks,
      results.map(({ alone }) => alone.accuracy),
    ),
    ...codecs.map(({ name, seeds }) => row(name, tasks, seeds)),
    '',
  ];
}

function speeds({ megabytes, dtype, cores, results }: Merges): string[] {
  const megas = (bytes: number | undefined) => (bytes === undefined ? '' : String(Math.round(bytes / 1e6)));
  return [
    '## Beside mergekit',
    '',
    `Checkpoints of ${megabytes} MB in ${dtype}, the same recipe files, in turn in one run on ${cores} cores: seconds of the whole command (median of ${results[0]?.rounds ?? 0}) and peak anonymous memory in MB.`,
    '',
    '| method | seconds | mergekit | ratio | MB | mergekit |',
    '|---|---|---|---|---|---|',
    ...results.map(
      ({ name, seconds, anonymousBytes }) =>
        `| ${name} | ${seconds.ours?.toFixed(1) ?? ''} | ${seconds.peer?.toFixed(1) ?? ''} | ${seconds.ratio?.toFixed(2) ?? ''} | ${megas(anonymousBytes.ours)} | ${megas(anonymousBytes.peer)} |`,
    ),
    '',
  ];
}

/** The text of docs/deltas.md. */
export function deltasPage(): string {
  const [deltas, merges] = [kept<Deltas>('deltas').at(-1), kept<Merges>('merge').at(-1)];
  return `${[
    '# What merging and compressing cost',
    '',
    '`peft bench deltas` and `peft bench merge` measure this again; `npm run docs` writes this page from what they keep.',
    '',
    ...(deltas ? accuracies(deltas) : []),
    ...(merges ? speeds(merges) : []),
  ].join('\n')}`;
}
