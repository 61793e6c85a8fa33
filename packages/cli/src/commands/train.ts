import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Adapter,
  PeftError,
  readAdapter,
  ScheduleConfig,
  stack,
  type TrainEvent,
  train,
  writeAdapter,
} from '@peftjs/core';
import * as z from 'zod';
import { readEach } from '../adapters.js';
import { readAnyAdapter } from '../any-adapter.js';
import { openBackend } from '../backend.js';
import { type Context, defineCommand } from '../command.js';
import { common, model } from '../common.js';
import { flag, fraction, integer, list, number, pairs, positive, repeated } from '../fields.js';
import { snakeCase } from '../names.js';
import { loadPlugins } from '../plugins.js';
import { settings, targetModules } from '../settings.js';
import { labelsInData, openModel, openRows } from '../tasks.js';

/** Epochs of a run that names neither epochs nor steps, as in transformers. */
const DEFAULT_EPOCHS = 3;

const options = z.object({
  model,
  task: z
    .string()
    .meta({ flags: '--task <name>', description: 'causal-lm, sequence-classification, image-classification, ...' }),
  data: z.string().meta({
    flags: '--data <file>',
    description: 'rows to train on (.tsv, .csv, .jsonl; or a folder of images by label)',
  }),
  evalData: z.string().optional().meta({ flags: '--eval-data <file>', description: 'rows to measure on' }),
  columns: pairs(',').meta({
    flags: '--columns <pairs>',
    description: "renames the file's columns: text=sentence,label=y",
  }),
  method: z.string().meta({ flags: '--method <name>', description: 'the method, e.g. lora' }),
  set: pairs().meta({ flags: '--set <key=value...>', description: "keys of the method's own configuration" }),
  wrap: z.string().optional().meta({ flags: '--wrap <name>', description: 'a way to train the method, e.g. ist' }),
  wrapSet: pairs().meta({ flags: '--wrap-set <key=value...>', description: "keys of the wrapper's own configuration" }),
  targetModules: list()
    .optional()
    .meta({ flags: '--target-modules <names>', description: 'modules to adapt: a,b or all-linear' }),
  lr: positive().meta({ flags: '--lr <rate>', description: 'learning rate' }),
  epochs: positive()
    .optional()
    .meta({ flags: '--epochs <n>', description: `passes over the data (default: ${DEFAULT_EPOCHS})` }),
  steps: integer(1).optional().meta({ flags: '--steps <n>', description: 'updates, instead of epochs' }),
  batchSize: integer(1).default(8).meta({ flags: '--batch-size <n>', description: 'rows of a batch' }),
  maxLength: integer(1).optional().meta({ flags: '--max-length <n>', description: 'tokens a row is cut to' }),
  schedule: ScheduleConfig.default('linear').meta({
    flags: '--schedule <name>',
    description: 'shape of the rate: constant, cosine, polynomial, ...',
  }),
  warmupRatio: fraction()
    .optional()
    .meta({ flags: '--warmup-ratio <part>', description: 'part of the updates that warm up' }),
  weightDecay: number(z.number().min(0))
    .default(0)
    .meta({ flags: '--weight-decay <rate>', description: 'weight decay' }),
  gradAccumulation: integer(1)
    .default(1)
    .meta({ flags: '--grad-accumulation <n>', description: 'batches that make one update' }),
  maxGradNorm: positive().optional().meta({ flags: '--max-grad-norm <norm>', description: 'clips the gradient' }),
  on: repeated().meta({
    flags: '--on <path...>',
    description: 'frozen adapters that the new one is trained on top of, PATH or PATH:WEIGHT',
  }),
  start: z
    .string()
    .optional()
    .meta({ flags: '--start <path>', description: 'an adapter of this method to train on, instead of a fresh start' }),
  newHead: flag().meta({ flags: '--new-head', description: "a fresh classification head instead of the checkpoint's" }),
  checkpointEvery: integer(1)
    .optional()
    .meta({ flags: '--checkpoint-every <n>', description: 'updates between checkpoints' }),
  checkpointMinutes: positive().default(10).meta({
    flags: '--checkpoint-minutes <n>',
    description: 'minutes after which a checkpoint is written in any case',
  }),
  resume: flag().meta({ flags: '--resume', description: 'goes on from the newest checkpoint of the output' }),
  output: z.string().meta({ flags: '--output <dir>', description: 'where the adapter is written' }),
  ...common,
});

/** What the last events of a run said. */
interface Seen {
  steps: number;
  loss?: number;
  metrics: Record<string, number>;
  counts: Record<string, unknown>;
  total: number;
}

const snakeKeys = (metrics: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(metrics).map(([key, value]) => [snakeCase(key), value]));

/** Prints an event and keeps what the result needs. */
function follow({ type, ...event }: TrainEvent, seen: Seen, { output }: Context, checkpoints: boolean): void {
  const fields = event as Record<string, unknown>;
  if (type === 'warning') output.talk(String(fields.message));
  if (type === 'prepare') {
    const { what, done, total } = event as Extract<TrainEvent, { type: 'prepare' }>;
    if (total === undefined) output.progress(`${what}: ${done}`);
    else output.progress(`${what}: ${done}/${total}`, done / total);
  }
  if (type === 'start') {
    const { trainable, trainableAdapter, steps, parameters } = event as Extract<TrainEvent, { type: 'start' }>;
    seen.counts = { trainable, trainableAdapter };
    seen.total = steps;
    output.talk(`${trainable} of ${parameters} numbers are trained, in ${steps} updates.`);
  }
  if (type === 'step') {
    const { step, loss } = event as Extract<TrainEvent, { type: 'step' }>;
    Object.assign(seen, { steps: step, loss });
    output.progress(`${step}/${seen.total}  loss ${loss.toFixed(4)}`, step / seen.total);
  }
  if (type === 'eval') {
    seen.metrics = snakeKeys((event as Extract<TrainEvent, { type: 'eval' }>).metrics);
    output.talk(`step ${fields.step}: ${describe(seen.metrics)}`);
    output.event(type, { ...fields, metrics: seen.metrics });
    return;
  }
  // The one of the last step is taken away again when no checkpoints were asked for.
  if (type === 'checkpoint' && !checkpoints && fields.step === seen.total) return;
  output.event(type, fields);
}

const describe = (metrics: Readonly<Record<string, number>>) =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toFixed(4)}`)
    .join(', ');

export const trainCommand = defineCommand({
  name: 'train',
  summary: 'trains an adapter on a frozen base',
  options,
  examples: [
    'peft train --model ./base --task causal-lm --data train.csv --method lora --set r=8 --lr 1e-3 --output ./adapter',
  ],
  async run(o, context) {
    const began = performance.now();
    const plugins = await loadPlugins(o.plugin);
    const targets = o.targetModules ? { targetModules: targetModules(o.targetModules) } : {};
    const bound = plugins.bind(o.method, { ...settings(o.set), ...targets });
    if (o.wrap === undefined && Object.keys(o.wrapSet).length > 0)
      throw new PeftError('CONFIG_INVALID', '--wrap-set says how a wrapper works: name one with --wrap.');
    const method = o.wrap === undefined ? bound : plugins.wrap(o.wrap, bound, settings(o.wrapSet));
    const columns = o.columns as Record<string, string>;
    const data = openRows(o.task, o.data, columns);
    const labels = await labelsInData(o.task, data);
    const plain = await openModel(o.model, o.task, {
      maxLength: o.maxLength,
      labels,
      newHead: o.newHead,
      seed: o.seed,
    });
    const { signal, output } = context;
    const reading = { plugins, base: o.model, signal, warn: output.talk };
    const frozen = await readEach(o.on, reading);
    const start = o.start === undefined ? undefined : await readAnyAdapter(o.start, reading);
    const base = frozen.length > 0 ? stack(plain, frozen, { kinds: plugins.kinds }) : plain;
    const backend = await openBackend(o); // in this thread: between steps signals are heard, and nothing is held twice
    const checkpoints = join(o.output, 'checkpoints');
    const seen: Seen = { steps: 0, metrics: {}, counts: {}, total: 0 };
    try {
      const run = train(base, {
        method,
        data,
        backend,
        lr: o.lr,
        batchSize: o.batchSize,
        schedule: o.schedule,
        weightDecay: o.weightDecay,
        gradAccumulation: o.gradAccumulation,
        seed: o.seed,
        resume: o.resume,
        checkpoint: {
          directory: checkpoints,
          minutes: o.checkpointMinutes,
          ...(o.checkpointEvery === undefined ? {} : { every: o.checkpointEvery }),
        },
        signal: context.signal,
        ...(o.steps === undefined ? { epochs: o.epochs ?? DEFAULT_EPOCHS } : { steps: o.steps, epochs: o.epochs }),
        ...(start && { start }),
        ...(o.evalData === undefined ? {} : { evalData: openRows(o.task, o.evalData, columns) }),
        ...(o.warmupRatio === undefined ? {} : { warmupRatio: o.warmupRatio }),
        ...(o.maxGradNorm === undefined ? {} : { maxGradNorm: o.maxGradNorm }),
      });
      for await (const event of run) follow(event, seen, context, o.checkpointEvery !== undefined);
      const digest = await save(o.output, await run.result(), plugins);
      // Checkpoints that nobody asked for are there for an interrupted run only.
      if (o.checkpointEvery === undefined) await rm(checkpoints, { recursive: true, force: true });
      context.output.talk(`Written to ${o.output}.`);
      return {
        steps: seen.steps,
        loss: seen.loss,
        metrics: seen.metrics,
        ...seen.counts,
        seconds: (performance.now() - began) / 1000,
        peakBytes: process.resourceUsage().maxRSS * 1024,
        output: o.output,
        digest,
      };
    } catch (error) {
      if (context.signal.aborted && seen.steps > 0)
        context.output.talk(
          `Stopped after step ${seen.steps}. The same command with --resume goes on from ${checkpoints}.`,
        );
      throw error;
    } finally {
      await backend.dispose();
    }
  },
});

/** Writes the adapter; its digest is that of the files. */
async function save(directory: string, adapter: Adapter, { layouts, kinds }: Awaited<ReturnType<typeof loadPlugins>>) {
  await writeAdapter(directory, adapter, { layouts, kinds });
  return (await readAdapter(directory, { layouts, kinds })).digest;
}
