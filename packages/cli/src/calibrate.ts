import { calibrators } from '@peftjs/bitdelta';
import { type Adapter, type Example, type Kinds, PeftError, type Rows } from '@peftjs/core';
import { type Model, rows } from '@peftjs/models';
import { openBackend } from './backend.js';
import type { Context } from './command.js';
import { openFor, taskOf } from './tasks.js';
import { UsageError } from './usage.js';

/** Options of a command that calibrates. */
export interface CalibrationOptions {
  readonly calibrate?: string | undefined;
  readonly base?: string | undefined;
  readonly task?: string | undefined;
  readonly columns: Readonly<Record<string, unknown>>;
  readonly maxLength?: number | undefined;
  readonly batchSize: number;
  readonly steps?: number | undefined;
  readonly lr?: number | undefined;
  readonly seed: number;
  readonly backend: string;
  readonly device: string;
  readonly threads?: number | undefined;
}

/** What compressing does beside the codec itself. */
export interface Calibrating {
  /** Options that the codec gets. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The compressed update, made better where its codec can. */
  refine(compressed: Adapter): Promise<Adapter>;
  dispose(): Promise<void>;
}

const none: Calibrating = { config: {}, refine: async (compressed) => compressed, async dispose() {} };

function check(codec: string, { calibrate, base, steps, lr }: CalibrationOptions): void {
  const problems: string[] = [];
  const found = calibrators.get(codec);
  const trains = steps !== undefined || lr !== undefined;
  if (calibrate === undefined && trains) problems.push('--steps and --lr: only with --calibrate');
  if (calibrate !== undefined) {
    if (!found) problems.push(`--calibrate: ${codec} takes no data; ${[...calibrators.keys()].join(' and ')} do`);
    if (base === undefined) problems.push('--base is missing: the model that the update belongs to');
    if (found && !found.refine && trains) problems.push(`--steps and --lr: ${codec} trains nothing`);
  }
  if (problems.length > 0) throw new UsageError(problems);
}

/** The base with the task, and with the labels that an adapter was trained with; the rows of the file. */
async function openBase(o: CalibrationOptions, exact: Adapter): Promise<{ model: Model<Example>; data: Rows }> {
  const data = rows(o.calibrate!, { columns: o.columns as Record<string, string> });
  const task = o.task ?? (await taskOf(o.base!, exact));
  if (task === 'features')
    throw new PeftError('CONFIG_INVALID', `${o.base} does not say what it was made for: name it with --task.`);
  const model = await openFor(o.base!, exact, { task, maxLength: o.maxLength });
  return { model, data };
}

/**
 * Makes ready what a codec does with a model and data. Without `--calibrate` that is nothing.
 * @throws UsageError for a codec that cannot be calibrated, or without a base
 */
export async function openCalibration(
  codec: string,
  exact: Adapter,
  o: CalibrationOptions,
  kinds: Kinds,
  { output, signal }: Context,
): Promise<Calibrating> {
  check(codec, o);
  if (o.calibrate === undefined) return none;
  const { configure, refine } = calibrators.get(codec)!;
  const { model, data } = await openBase(o, exact);
  const backend = await openBackend(o);
  const { batchSize, seed, steps, lr } = o;
  const training = {
    ...{ data, backend, batchSize, seed, signal, kinds },
    ...(steps === undefined ? {} : { steps }),
    ...(lr === undefined ? {} : { lr }),
  };
  try {
    const config = (await configure?.(model, { data, backend, batchSize, exact })) ?? {};
    return {
      config,
      async refine(compressed) {
        if (!refine) return compressed;
        const run = refine(model, { exact, compressed }, training);
        for await (const { step, loss } of run) {
          output.event('calibrated', { step, loss });
          output.progress(`step ${step}  difference of the logits ${loss.toPrecision(4)}`);
        }
        return run.result();
      },
      dispose: () => backend.dispose(),
    };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}
