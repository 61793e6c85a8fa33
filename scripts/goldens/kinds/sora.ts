import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  adamw,
  type Bound,
  createGraph,
  createOps,
  createSchedule,
  f32,
  type Method,
  type Plan,
  readAdapter,
  type Tensor,
  writeAdapter,
} from '@peftjs/core';
import { sora } from '@peftjs/sora';
import * as math from '../../../packages/sora/src/math.js';
import { logitsOf, mergedParameter } from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { createChecks } from '../checks.js';
import { optimizerOf, type TorchOptimizer } from '../optimizers.js';
import { adapterOf, planned, type Recipe, slopesAt, stepsOf, type Trained, trainedLogits } from '../trained.js';

type Named = ReadonlyMap<string, Tensor>;

interface SoraRecord extends CaseRecord {
  readonly variant: string;
  readonly config?: {
    readonly r_max: number;
    readonly alpha: number;
    readonly targets: string[];
    readonly head: string | null;
    readonly steps: number;
    /** In words: what the loss has beside the task's. */
    readonly loss: string;
    readonly main: TorchOptimizer;
    readonly gates: { readonly lr?: number; readonly eta?: number; readonly lambda?: number; readonly then?: string };
    readonly threshold?: string;
    readonly schedule?: string;
  };
}

/** The number that a sentence of the record gives. */
function numberIn(text: string | undefined, pattern: RegExp): number | undefined {
  const found = text && pattern.exec(text)?.[1];
  return found ? Number(found) : undefined;
}

/** The configuration of a case, and how it trains. */
function settingsOf({ config, variant }: SoraRecord): { bound: Bound; recipe: Recipe } {
  const { r_max: r, alpha, targets, head, steps, loss, main, gates, threshold, schedule } = config!;
  const common = { r, alpha, targetModules: targets, modulesToSave: head ? [head] : [] };
  if (variant === 'paper') {
    const bound = sora({ ...common, gateLr: gates.eta!, lambda: gates.lambda! });
    return { bound, recipe: { lr: main.lr, steps, optimizer: optimizerOf(main) } };
  }
  const bound = sora({
    ...common,
    threshold: threshold?.startsWith('the official') ? 'official' : 'constant',
    gateRule: 'adamw',
    lambda: numberIn(gates.then, /xi = ([\d.]+)/)!,
    l1: numberIn(loss, /([\d.]+) \* sum\|g\|/)!,
  });
  const { betas, eps } = main;
  const warmup = numberIn(schedule, /t\/(\d+) for/)!;
  return {
    bound,
    recipe: {
      lr: main.lr,
      steps,
      // AdamW as transformers 4 shipped it.
      optimizer: adamw({ betas: [betas![0], betas![1]], eps: eps!, epsPlacement: 'before', decayPlacement: 'after' }),
      weightDecay: main.weight_decay!,
      maxGradNorm: 0.1,
      schedule: createSchedule('linear', steps, { steps: warmup, fromZero: true }),
    },
  };
}

/** The trainer of the cases, not the method, leaves biases without decay. */
function withoutDecayOfBiases(trained: Trained): Trained {
  const { plan } = trained;
  const method: Method = {
    ...plan.method,
    rule: (parameter, c) => ({
      ...plan.method.rule?.(parameter, c),
      ...(parameter.name === 'bias' && { weightDecay: 0 }),
    }),
  };
  return { ...trained, plan: { ...plan, method } };
}

const letters: Readonly<Record<string, string>> = { A: 'a', B: 'b', g: 'g' };

/** `<module>.A` of a case as a name in a graph; a parameter trained in full keeps its own. */
const graphName = (name: string): string => {
  const dot = name.lastIndexOf('.');
  const letter = letters[name.slice(dot + 1)];
  return letter ? `${name.slice(0, dot)}:${letter}` : name;
};

const vector = (values: readonly number[]): Tensor => f32([values.length], values);
const floats = (tensor: Tensor | undefined): Float32Array => tensor!.data as Float32Array;

/** The thresholds alone, on a table of values. */
async function thresholds(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const checks = createChecks(folder, { relToMax: 1e-7 }); // a single rounding
  for (const name of folder.expected.keys()) {
    const [xi, which] = name.split('/') as [string, string];
    const values = folder.inputs.get(xi === 'xi1' ? 'v' : 'w')!;
    const graph = createGraph('threshold');
    const ops = createOps(graph);
    const operands = [ops.input('v', 'f32', values.shape), ops.input('xi', 'f32', []), ops] as const;
    ops.output((which === 'official' ? math.officialThreshold : math.softThreshold)(...operands), 'y');
    const program = await backend.compile(graph);
    const { y } = await program.run({ v: values, xi: f32([], [Number(xi.slice(2))]) });
    await program.dispose();
    checks.tensor(name, y);
    const zeros = (tensor: Tensor | undefined) => [...floats(tensor).keys()].filter((i) => floats(tensor)[i] === 0);
    const [got, expected] = [zeros(y), zeros(folder.expected.get(name))];
    if (`${got}` !== `${expected}`) checks.problem(`${name}: zeros at ${got}, expected at ${expected}`);
  }
  checks.done();
}

/** SoRA: gradients, updates with their thresholds, and the pruned adapter as PEFT loads it. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const record = folder.record as SoraRecord;
  if (!record.config) return thresholds(folder, context);
  const { backend } = context;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const { bound, recipe } = settingsOf(record);
  const given = new Map(
    [...inputs].flatMap(([name, tensor]) =>
      name.startsWith('start/') ? [[graphName(name.slice('start/'.length)), tensor] as const] : [],
    ),
  );
  const trained = withoutDecayOfBiases(await planned(base, bound, given));
  const checks = createChecks(folder);
  const mask = inputs.get('attention_mask');
  const logits = (name: string, got: Tensor, like?: string) =>
    checks.tensor(name, masked(got, expected.get(name)!, mask), like);
  const under = (prefix: string) =>
    [...expected.keys()].flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));

  const begin = trained.start.train;
  logits('logits/base', await logitsOf(base, [], feeds, backend));
  logits('logits/start', await trainedLogits(trained, begin, feeds, backend));
  const first = await slopesAt(trained, begin, feeds, backend);
  checks.tensor('loss/start_task', f32([], [first.loss]));
  checks.tensor('loss/start', f32([], [first.total]));
  for (const name of under('grad/')) checks.tensor(`grad/${name}`, first.gradients.get(graphName(name)));

  const [task, whole, gates]: number[][] = [[], [], []];
  let end: Named = begin;
  for await (const { loss, total, train } of stepsOf(trained, recipe, feeds, backend)) {
    task!.push(loss);
    whole!.push(total);
    for (const target of record.config.targets) gates!.push(...floats(train.get(`${target}:g`)));
    end = train;
  }
  const last = await slopesAt(trained, end, feeds, backend);
  checks.tensor('loss/steps_task', vector([...task!, last.loss]));
  checks.tensor('loss/steps', vector([...whole!, last.total]));
  const all = expected.get('gates/steps')!;
  checks.tensor('gates/steps', f32(all.shape, gates!));
  const different = gates!.findIndex((g, i) => (g === 0) !== (all.data[i] === 0));
  if (different >= 0) checks.problem(`gates/steps: another gate than expected is zero, at ${different}`);
  for (const name of under('final/')) checks.tensor(`final/${name}`, end.get(graphName(name)));

  const adapter = await adapterOf(trained, end);
  logits('logits/end', await logitsOf(base, [adapter], feeds, backend));
  for (const path of under('merged/')) checks.tensor(`merged/${path}`, await mergedParameter(base, [adapter], path));
  await exported(trained.plan, adapter);
  checks.done();

  /** Our folder holds the modules and ranks of the reference's, and gives the same logits when it is read again. */
  async function exported(plan: Plan, own: Adapter): Promise<void> {
    const out = await mkdtemp(join(tmpdir(), 'peftjs-sora-'));
    await writeAdapter(out, own, { layout: plan.method.layout });
    const { parameters, targets } = base.model;
    const read = (path: string) => readAdapter(path, { base: { parameters, targets }, warn: () => {} });
    const [ours, theirs] = [await read(out), await read(join(folder.path, 'export_lora'))];
    const ranks = ({ delta }: Adapter) =>
      [...delta.params].map(([path, [term]]) => `${path} ${term!.tensors.a!.shape[0]} ${term!.meta.scale}`).sort();
    if (`${ranks(ours)}` !== `${ranks(theirs)}`)
      checks.problem(`the export holds ${ranks(ours)}, expected is ${ranks(theirs)}`);
    logits('logits/export_lora_in_peft', await logitsOf(base, [ours], feeds, backend), 'logits/end');
    await rm(out, { recursive: true });
  }
}
