import * as z from 'zod';
import { platform } from '#platform';
import type { Tensors } from '../adapter/start.js';
import { PeftError, Problems } from '../errors.js';
import { writeDirectoryAtomic, writeFileAtomic } from '../files/atomic.js';
import { openSafetensors } from '../files/safetensors-read.js';
import { writeSafetensors } from '../files/safetensors-write.js';
import { fileSource } from '../files/source.js';
import { tensorRef } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkpointPath, keepOnly } from './checkpoint-folder.js';

const count = z.number().int().nonnegative();

/** Where a run stands: everything that decides how it goes on, but its tensors. */
export const Progress = z.strictObject({
  /** Updates done. */
  step: count,
  /** Whether what follows an update (the evaluation) has been done for this one. */
  settled: z.boolean(),
  /** Sum of the losses of the present epoch's updates, and their number. */
  epochLoss: z.strictObject({ sum: z.number(), updates: count }),
  /** The best evaluation so far. */
  best: z.strictObject({ step: count, metric: z.number() }).optional(),
  /** Evaluations since the best one. */
  stale: count,
  /** Stopped early. */
  stopped: z.boolean(),
  /** Number of the phase, from 0. */
  phase: count,
});
export type Progress = z.output<typeof Progress>;

/** What a run is: a checkpoint serves the run with the same identity only. */
export const RunIdentity = z.strictObject({
  /** Options that decide the numbers, as plain JSON. */
  options: z.record(z.string(), z.unknown()),
  task: z.string(),
  /** Digest of the training rows. */
  data: z.string(),
  /** Digest of what the task makes of them. */
  examples: z.string(),
  /** Digest of what the method chose by looking at weights and data. */
  choice: z.string(),
  /** Digest of the base weights. */
  base: z.string(),
});
export type RunIdentity = z.output<typeof RunIdentity>;

const StateFile = z.strictObject({
  format: z.literal('peftjs checkpoint 1'),
  /** What computed it: equal bits are promised for the same runtime only. */
  runtime: z.string(),
  identity: RunIdentity,
  progress: Progress,
});

export interface Checkpoint {
  readonly runtime: string;
  readonly identity: RunIdentity;
  readonly progress: Progress;
  readonly tensors: RunTensors;
}

/** The tensors of a run, by the names they have in the step's graph. */
export interface RunTensors {
  /** Trained ones. */
  readonly train: Tensors;
  /** Of the optimizer. */
  readonly state: Tensors;
  readonly held: Tensors;
  /** Of later phases; those of the first are rebuilt from the seed. */
  readonly frozen: Tensors;
  /** What the method keeps from phase to phase. */
  readonly kept: Tensors;
  /** Trained and held ones of the best evaluation, when the run keeps them. */
  readonly best: Tensors;
}

const groups = ['train', 'state', 'held', 'frozen', 'kept', 'best'] as const;

const stateName = 'state.json';
const tensorsName = 'tensors.safetensors';
const refs = (prefix: string, tensors: Tensors) =>
  [...tensors].map(([name, tensor]) => [`${prefix}/${name}`, tensorRef(tensor)] as const);

/**
 * Writes a checkpoint as a directory of its own, aside and synced before it gets its name, then takes the older ones
 * away. Whatever happens meanwhile, `folder` holds a whole checkpoint once it held one.
 * @returns the path of the checkpoint
 */
export async function writeCheckpoint(folder: string, checkpoint: Checkpoint): Promise<string> {
  const { runtime, identity, progress } = checkpoint;
  const path = checkpointPath(folder, progress.step);
  const state: z.input<typeof StateFile> = { format: 'peftjs checkpoint 1', runtime, identity, progress };
  await writeDirectoryAtomic(path, async (directory) => {
    const tensors = new Map(groups.flatMap((group) => refs(group, checkpoint.tensors[group])));
    await writeSafetensors(platform.resolve(directory, tensorsName), tensors);
    const text = new TextEncoder().encode(`${JSON.stringify(state, null, 2)}\n`);
    await writeFileAtomic(platform.resolve(directory, stateName), text);
  });
  await keepOnly(path);
  return path;
}

/** @throws PeftError FILE_MISSING, FILE_INVALID for what is no checkpoint of this version */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const source = await fileSource(platform.resolve(path, stateName));
  const text = new TextDecoder().decode(await source.read(0, source.size));
  await source.close();
  const { runtime, identity, progress } = parseState(text, source.name);
  const file = await openSafetensors(platform.resolve(path, tensorsName));
  const tensors = Object.fromEntries(groups.map((group) => [group, new Map<string, Tensor>()]));
  for (const [name, ref] of file.tensors) {
    const slash = name.indexOf('/');
    tensors[name.slice(0, slash)]?.set(name.slice(slash + 1), await ref.read());
  }
  await file.close();
  return { runtime, identity, progress, tensors: tensors as unknown as RunTensors };
}

function parseState(text: string, name: string): z.output<typeof StateFile> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `${name} is no JSON: it is no checkpoint of this library.`, { cause });
  }
  const parsed = StateFile.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = new Problems();
  for (const issue of parsed.error.issues) problems.add(`${issue.path.join('.')}: ${issue.message}`);
  problems.throwIfAny('FILE_INVALID', `${name} is no checkpoint that this version can read`);
  throw parsed.error;
}

/**
 * Refuses a checkpoint of another run.
 * @throws PeftError CHECKPOINT_MISMATCH listing everything that differs
 */
export function requireSameRun(path: string, found: RunIdentity, own: RunIdentity): void {
  const problems = new Problems();
  const text = (value: unknown) => JSON.stringify(value) ?? 'nothing';
  for (const key of new Set([...Object.keys(found.options), ...Object.keys(own.options)])) {
    const [there, here] = [text(found.options[key]), text(own.options[key])];
    if (there !== here) problems.add(`${key} is ${there} in the checkpoint and ${here} in this run`);
  }
  if (found.task !== own.task) problems.add(`its task is ${found.task}, that of this run ${own.task}`);
  if (found.data !== own.data) problems.add('it was trained on other rows, or on the same ones in another order');
  else if (found.examples !== own.examples)
    problems.add('its rows are the same but encoded otherwise: another length limit, tokenizer or order of labels');
  if (found.base !== own.base) problems.add(`its base has digest ${found.base}, that of this run ${own.base}`);
  // Other settings choose otherwise: what follows from them is no problem of its own.
  if (problems.list.length === 0 && found.choice !== own.choice)
    problems.add(
      'the method now chooses other ranks or indices, because what it looks at has other last bits on another device or with another number of threads: resume where the run began',
    );
  problems.throwIfAny(
    'CHECKPOINT_MISMATCH',
    `The checkpoint ${path} belongs to another run; restore its settings, or start anew in another directory`,
  );
}
