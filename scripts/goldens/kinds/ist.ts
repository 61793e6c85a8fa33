import { type Bound, defineMethod, f32, type NamedTensors, type Tensor } from '@peftjs/core';
import { type DrawLayers, ist } from '@peftjs/layerwise';
import { lora } from '@peftjs/lora';
import { logitsOf } from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { trainCase } from '../case-run.js';
import { createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { under, within } from '../sparse.js';

interface IstRecord extends CaseRecord {
  readonly config: {
    /** In words: rank and scale. */
    readonly adapter: string;
    readonly layers: number;
    readonly optimizer: TorchOptimizer & { readonly steps: number };
    readonly interval: number;
    readonly subsets_per_update: number;
    readonly suppressed_layers: number;
    readonly trained_layers: number;
    readonly suppression_factor: number;
    readonly importance_rate: number;
    /** Suppressed layers of every look, by the number of updates before it. */
    readonly subsets: Readonly<Record<string, readonly (readonly number[])[]>>;
    readonly active_layers_per_step: readonly (readonly number[])[];
  };
}

const numberIn = (text: string, pattern: RegExp): number => Number(pattern.exec(text)![1]);

/** IST around LoRA with the case's choices of layers. */
function istOf(config: IstRecord['config'], wrapped: Bound): Bound {
  const draw: DrawLayers = ({ purpose, clock: { step }, subset, count }) => {
    const given = purpose === 'train' ? config.active_layers_per_step[step - 1]! : config.subsets[step]![subset]!;
    if (given.length !== count) throw new Error(`${count} layers were to be drawn, the case has ${given}`);
    return given;
  };
  const options = {
    trained: config.trained_layers / config.layers,
    suppressed: config.suppressed_layers / config.layers,
    interval: config.interval,
    subsets: config.subsets_per_update,
    factor: config.suppression_factor,
    rate: config.importance_rate,
  };
  return ist(wrapped, options, draw);
}

/** Layers trained in turn: losses, those of suppressed layers, importance, and the tensors at the end. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { config } = folder.record as IstRecord;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const start = within(inputs, 'start/');
  const targetModules = [...new Set([...start.keys()].map((name) => name.slice(0, -'.A'.length)))];
  const bound = istOf(
    config,
    lora({
      targetModules,
      r: numberIn(config.adapter, /r=(\d+)/),
      alpha: numberIn(config.adapter, /alpha=(\d+)/),
    }) as Bound,
  );
  // While the method looks, the batch is another one.
  let looking: number | undefined;
  let end: NamedTensors = new Map();
  const { method } = bound;
  const watched = defineMethod({
    ...method,
    init(target, c, rng, given) {
      const letter = (name: string): Tensor => start.get(`${target.path}.${name}`)!;
      return { ...method.init(target, c, rng, given), train: { a: letter('A'), b: letter('B') } };
    },
    async onStep(step) {
      const { step: t } = step.clock;
      const tried: number[] = [];
      looking = t;
      const loss: typeof step.loss = async (...asked) => {
        tried.push(await step.loss(...asked));
        return tried.at(-1)!;
      };
      const edit = await method.onStep!({ ...step, loss });
      looking = undefined;
      if (tried.length > 0) checks.tensor(`suppressed_loss/${t}`, f32([tried.length], tried));
      const importance = edit?.set?.get('*:istImportance');
      if (importance) checks.tensor(`importance/${t}`, importance);
      end = await step.read(targetModules.flatMap((path) => [`${path}:a`, `${path}:b`]));
      return edit;
    },
  });
  const batch = within(inputs, 'train/');
  const feeds = feedsOf(base, batch);
  const { optimizer } = config;
  const { losses, adapter } = await trainCase(base, {
    method: watched(bound.config as never) as Bound,
    backend,
    batches: () => (looking === undefined ? feeds : feedsOf(base, within(inputs, `eval.${looking}/`))),
    steps: optimizer.steps,
    lr: optimizer.lr,
    schedule: 'constant',
    weightDecay: optimizer.weight_decay!,
    optimizer,
  });
  checks.tensor('loss/steps', f32([losses.length], losses));
  for (const name of under(folder, 'final/')) {
    const [path, letter] = [name.slice(0, -2), name.slice(-1)];
    checks.tensor(`final/${name}`, end.get(`${path}:${letter.toLowerCase()}`));
  }
  const logits = await logitsOf(base, [adapter], feeds, backend);
  checks.tensor('logits/end', masked(logits, expected.get('logits/end')!, batch.get('attention_mask')));
  checks.done();
}
