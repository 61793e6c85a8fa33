import { PeftError } from '../errors.js';
import type { Progress } from './checkpoint.js';
import type { Example, Task } from './model.js';

/**
 * What an evaluation changes: the best one so far, and whether to stop. A metric that is no number improves nothing.
 * @param patience evaluations without improvement that end the run; never without it
 * @throws PeftError INTERNAL when the task does not measure what it watches
 */
export function judge<E extends Example>(
  metrics: Readonly<Record<string, number>>,
  task: Task<E>,
  progress: Progress,
  patience = Number.POSITIVE_INFINITY,
): { readonly progress: Progress; readonly improved: boolean } {
  const { metric: name, better } = task.monitor;
  const metric = metrics[name];
  if (metric === undefined) {
    const measured = Object.keys(metrics).join(', ');
    throw new PeftError('INTERNAL', `The task "${task.name}" watches "${name}" but measures ${measured}.`);
  }
  const { best, step } = progress;
  const surpassed = !best || (better === 'higher' ? metric > best.metric : metric < best.metric);
  const improved = surpassed && Number.isFinite(metric);
  if (improved) return { progress: { ...progress, best: { step, metric }, stale: 0 }, improved };
  const stale = progress.stale + 1;
  return { progress: { ...progress, stale, stopped: progress.stopped || stale >= patience }, improved };
}

/** @throws PeftError TRAINING_DIVERGED naming the step */
export function requireFinite(step: number, loss: number, gradNorm: number | undefined): void {
  const sound = Number.isFinite(loss);
  if (sound && (gradNorm === undefined || Number.isFinite(gradNorm))) return;
  const wrong = sound ? `norm of the gradient is ${gradNorm}` : `loss is ${loss}`;
  throw new PeftError(
    'TRAINING_DIVERGED',
    `At step ${step} the ${wrong}: lower the rate, lengthen the warm-up, or clip the gradient with maxGradNorm.`,
    { details: { step, loss, gradNorm } },
  );
}
