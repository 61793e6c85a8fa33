import { join } from 'node:path';
import { defineMethod, f32, type NamedTensors, readAdapter, type Tensor } from '@peftjs/core';
import { type IncreloraOptions, increlora } from '@peftjs/rank-schedules';
import { logitsOf, mergedParameter } from '../adapted.js';
import { feedsOf, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { trainCase } from '../case-run.js';
import { createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { under } from '../sparse.js';
import { planned, slopesAt, trainedLogits } from '../trained.js';

interface IncreloraRecord extends CaseRecord {
  readonly variant: 'paper' | 'code';
  readonly config: {
    readonly targets: readonly string[];
    readonly alpha: number;
    readonly initial_rank: number;
    readonly target_total_rank: number;
    readonly init_warmup: number;
    readonly incre_interval: number;
    readonly top_h: number;
    readonly rank_added: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly orthogonal_regularisation: number;
    readonly max_grad_norm: number;
    readonly optimizer: TorchOptimizer & { readonly steps: number };
  };
  readonly final_ranks: Readonly<Record<string, number>>;
}

const floats = (tensor: Tensor | undefined) => tensor!.data as Float32Array;

/** The method's slots with the case's start and reserves in them, in the order in which the case uses them. */
function filled({ inputs }: CaseFolder, path: string, letter: 'a' | 'b', own: Tensor): Tensor {
  const data = Float32Array.from(floats(own));
  const name = letter.toUpperCase();
  const pieces = [inputs.get(`start/${path}.${name}`)!];
  for (let piece = inputs.get(`reserve/${path}.0.${name}`); piece; )
    piece = inputs.get(`reserve/${path}.${pieces.push(piece) - 1}.${name}`);
  pieces.forEach((piece, slot) => {
    data.set(floats(piece), slot * own.shape[1]!);
  });
  return f32(own.shape, data);
}

/** Slots 0 to `count` in the shape of the case: rows of A, columns of B, numbers of E. */
function pieces(tensors: NamedTensors, path: string, letter: string, shape: readonly number[]): Tensor {
  const of = (name: string) => floats(tensors.get(`${path}:${name}`));
  const [grown, present] = [of('grown'), of('present')];
  const spare = floats(tensors.get('*:spare'))[0]!;
  const count = present.reduce((sum, one) => sum + one, 0);
  if (letter === 'E')
    return f32(
      shape,
      of('e')
        .slice(0, count)
        .map((e, i) => (grown[i] ? e : spare)),
    );
  const rows = tensors.get(`${path}:${letter.toLowerCase()}`)!;
  const width = rows.shape[1]!;
  const data = floats(rows).slice(0, count * width);
  if (letter === 'A') return f32(shape, data);
  return f32(
    shape,
    Float32Array.from(data, (_, i) => data[(i % count) * width + Math.floor(i / count)]!),
  );
}

/** Growth of the rank: every score, every update, the pieces at the end, and the export. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { config, variant, final_ranks: ranks } = folder.record as IncreloraRecord;
  const { inputs, expected, path: place } = folder;
  const { targets, optimizer } = config;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const feeds = feedsOf(base, inputs);
  const scores: number[] = [];
  const importances: number[] = [];
  let end: NamedTensors = new Map();
  const watched = defineMethod({
    ...increlora.method,
    init(target, c, rng, given) {
      const made = increlora.method.init(target, c, rng, given);
      const { a, b, e } = made.train;
      return {
        ...made,
        train: { a: filled(folder, target.path, 'a', a!), b: filled(folder, target.path, 'b', b!), e: e! },
      };
    },
    async onStep(step) {
      const edit = await increlora.method.onStep!(step);
      const letters = ['a', 'b', 'e', 'grown', 'present', 'importance', 'uncertainty'];
      const names = targets.flatMap((path) => letters.map((letter) => `${path}:${letter}`));
      end = new Map([...(await step.read([...names, '*:spare'])), ...(edit?.set ?? [])]);
      for (const path of targets) {
        scores.push(floats(step.observed.get(`${path}:score`))[0]!);
        importances.push(floats(end.get(`${path}:importance`))[0]! * floats(end.get(`${path}:uncertainty`))[0]!);
      }
      return edit;
    },
  });
  const options: IncreloraOptions & { targetModules: string[]; modulesToSave: string[] } = {
    targetModules: [...targets],
    modulesToSave: ['classifier'],
    variant,
    alpha: config.alpha,
    initialRank: config.initial_rank,
    targetRank: config.target_total_rank / targets.length,
    warmup: config.init_warmup,
    interval: config.incre_interval,
    topH: config.top_h,
    added: config.rank_added,
    beta1: config.beta1,
    beta2: config.beta2,
    orthogonality: config.orthogonal_regularisation,
  };
  const method = watched(options);
  const start = await planned(base, method, new Map());
  checks.tensor('logits/start', await trainedLogits(start, start.start.train, feeds, backend));
  const { gradients } = await slopesAt(start, start.start.train, feeds, backend);
  for (const name of under(folder, 'grad/')) {
    const [, path, letter] = /^(.*)\.([ABE])\.0$/.exec(name)!;
    const all = gradients.get(`${path}:${letter!.toLowerCase()}`)!;
    const { shape } = expected.get(`grad/${name}`)!;
    checks.tensor(`grad/${name}`, f32(shape, floats(all).slice(0, shape[0]! * shape[1]!)));
  }

  const { losses, penalties, adapter } = await trainCase(base, {
    method,
    backend,
    batches: () => feeds,
    steps: optimizer.steps,
    lr: optimizer.lr,
    schedule: 'constant',
    weightDecay: optimizer.weight_decay!,
    maxGradNorm: config.max_grad_norm,
    optimizer,
  });
  checks.tensor('loss/steps_task', f32([losses.length], losses));
  checks.tensor(
    'loss/steps',
    f32(
      [losses.length],
      losses.map((loss, i) => loss + penalties[i]!),
    ),
  );
  checks.tensor('score/steps', f32([losses.length, targets.length], scores));
  checks.tensor('importance/steps', f32([losses.length, targets.length], importances));
  for (const name of under(folder, 'final/')) {
    const found = /^(.*)\.([ABE])$/.exec(name);
    const { shape } = expected.get(`final/${name}`)!;
    const got = found ? pieces(end, found[1]!, found[2]!, shape) : await adapter.replaced.get(name)?.read();
    checks.tensor(`final/${name}`, got);
  }
  for (const path of under(folder, 'merged/'))
    checks.tensor(`merged/${path}`, await mergedParameter(base, [adapter], path));
  checks.tensor('logits/end', await logitsOf(base, [adapter], feeds, backend));

  const theirs = await readAdapter(join(place, 'export_lora'), {
    base: { parameters: base.model.parameters, targets: base.model.targets },
    warn: () => {},
  });
  checks.tensor('logits/export_lora_in_peft', await logitsOf(base, [theirs], feeds, backend), 'logits/end');
  for (const [path, [term]] of adapter.delta.params) {
    const [rank, other] = [term!.tensors.a!.shape[0], theirs.delta.params.get(path)?.[0]];
    if (rank !== ranks[path.slice(0, -'.weight'.length)] || rank !== other?.tensors.a?.shape[0])
      checks.problem(`${path} is saved with rank ${rank}, theirs has ${other?.tensors.a?.shape[0]}`);
    if (Math.abs(Number(term!.meta.scale) - Number(other?.meta.scale)) > 1e-6)
      checks.problem(`${path} is saved with scale ${term!.meta.scale}, theirs has ${other?.meta.scale}`);
  }
  checks.done();
}
