import {
  type Adapter,
  adamw,
  type Backend,
  compileGraph,
  contentDigest,
  createRandom,
  createRun,
  createSchedule,
  type Example,
  type Feeds,
  f32,
  fusedGraph,
  type Kinds,
  PeftError,
  type Rows,
  type Run,
  scalarFeeds,
  type TaskModel,
  type Tensor,
  tensor,
  tensorRef,
  withKinds,
} from '@peftjs/core';
import * as z from 'zod';
import { batchesOf, feedsFor, rowMask, type Update } from '../calibrate/model.js';
import { requireRunning } from '../cancelled.js';
import { scaleName, studentGraph, teacherFeeds, teacherGraph } from './distil.js';
import { signs } from './kind.js';

/** Sent after every update. `loss` is the mean squared difference of the logits. */
export const CalibrateStepEvent = z.object({ type: z.literal('step'), step: z.number(), loss: z.number() });
export type CalibrateEvent = z.output<typeof CalibrateStepEvent>;

export interface CalibrateOptions {
  /** Rows in the columns of the model's task. */
  readonly data: Rows;
  readonly backend: Backend;
  readonly steps?: number;
  readonly batchSize?: number;
  /** The full rate; it falls along a cosine. */
  readonly lr?: number;
  readonly weightDecay?: number;
  /** Decides the order of the rows. */
  readonly seed?: number;
  /** Kinds of the terms of the exact update. */
  readonly kinds?: Kinds;
  readonly signal?: AbortSignal;
}

/**
 * Trains the scales of a BitDelta update so that the model's logits come near those of the exact one (Liu et al. 2024,
 * section 3): 200 updates of AdamW on batches of four. NOTE: as in the paper, the scales alone are trained; the authors'
 * code trains embeddings, norms and the head as well, and counts padding.
 * @param exact the update before compression @param compressed the same in `signs` terms
 * @throws PeftError CONFIG_INVALID when nothing is there to train; while running DATA_INVALID, MODEL_UNSUPPORTED for a
 *   model without logits, TRAINING_DIVERGED, CANCELLED
 */
export function calibrateScales<E extends Example>(
  model: TaskModel<E>,
  { exact, compressed }: { readonly exact: Update; readonly compressed: Adapter },
  options: CalibrateOptions,
): Run<CalibrateEvent, Adapter> {
  return createRun((signal) => distil(model, exact, compressed, options, signal), options.signal);
}

async function* distil<E extends Example>(
  model: TaskModel<E>,
  exact: Update,
  compressed: Adapter,
  options: CalibrateOptions,
  signal: AbortSignal,
): AsyncGenerator<CalibrateEvent, Adapter, void> {
  const { backend, steps = 200, batchSize = 4, lr = 1e-4, weightDecay = 0.01, seed = 0 } = options;
  const kinds: Kinds = new Map([...withKinds(signs), ...(options.kinds ?? [])]);
  const batches = await batchesOf(model, options.data, batchSize);
  const teacher = teacherGraph(model, exact, kinds);
  const student = await studentGraph(model, compressed, kinds);
  const groups = [{ lr, decay: weightDecay, optimizer: adamw() }];
  const step = fusedGraph(student, { groups, groupOf: student.trainables.map(() => 0) });
  const schedule = createSchedule('cosine', steps, { steps: 0 });
  requireRunning(signal, 'The calibration');
  const right = await compileGraph(backend, teacher.graph, { signal });
  try {
    const program = await compileGraph(backend, step.graph, { outputs: step.outputs, carry: step.carry, signal });
    try {
      for (const [name, start] of [...student.start, ...step.state]) await program.write(name, start);
      for (let t = 0; t < steps; t++) {
        requireRunning(signal, 'The calibration');
        const batch = batches[orderOf(seed, Math.floor(t / batches.length), batches.length)[t % batches.length]!]!;
        const { [teacher.logits.name]: logits } = await right.run(feedsFor(teacher.graph, batch.feeds));
        const feeds = { ...batch.feeds, ...targets(logits!, rowMask(batch, student.extent)) };
        const update = { ...feeds, ...scalarFeeds(groups, { step: t + 1, factor: schedule(t) }) };
        const loss = Number((await program.run(feedsFor(step.graph, update))).loss!.data[0]);
        if (!Number.isFinite(loss))
          throw new PeftError(
            'TRAINING_DIVERGED',
            `The difference of the logits is ${loss} at step ${t + 1}: use a lower lr than ${lr}.`,
          );
        yield { type: 'step', step: t + 1, loss };
      }
      return await withScales(compressed, program);
    } finally {
      await program.dispose();
    }
  } finally {
    await right.dispose();
  }
}

/** The batches of an epoch in random order. */
const orderOf = (seed: number, epoch: number, count: number): Int32Array =>
  createRandom(seed).fork('calibrate', epoch).permutation(count);

/** What the student is compared with, and 1 over the number of logits that count. */
function targets(logits: Tensor, mask: Tensor): Feeds {
  const rows = (mask.data as Float32Array).reduce((sum, x) => sum + x, 0);
  const count = Math.max(1, rows * (logits.shape[1] ?? 1));
  const weight = tensor('f32', [], Float32Array.of(1 / count));
  return { [teacherFeeds.logits]: logits, [teacherFeeds.rows]: mask, [teacherFeeds.weight]: weight };
}

/** The compressed update with the trained scales in it. */
async function withScales(compressed: Adapter, program: { read(name: string): Promise<Tensor> }): Promise<Adapter> {
  const params = new Map(compressed.delta.params);
  for (const [path, terms] of params) {
    const changed = terms.map(async (term, i) => {
      if (term.kind !== signs.kind) return term;
      const scale = await program.read(scaleName(path, i));
      const shape = term.tensors.scale!.shape;
      return { ...term, tensors: { ...term.tensors, scale: tensorRef(f32(shape, scale.data as Float32Array)) } };
    });
    params.set(path, await Promise.all(changed));
  }
  const content = { delta: { shape: compressed.delta.shape, params }, replaced: compressed.replaced };
  return { ...compressed, ...content, digest: await contentDigest(content) };
}
