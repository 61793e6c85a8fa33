import {
  attachMethod,
  bindMethod,
  createOps,
  defineMethod,
  gradients,
  type NamedTensors,
  startTensors,
  type Tensor,
  tensor,
} from '@peftjs/core';
import { type SpielOptions, type SpielSettings, spiel } from '@peftjs/sft';
import { type Base, feedsOf, only, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { checkIndices, trainCase } from '../case-run.js';
import { type Checks, createChecks } from '../checks.js';
import { checkLogits, checkMerged, checkShira, checkSparse, under, within } from '../sparse.js';

interface SpielRecord extends CaseRecord {
  readonly variant: string;
  readonly config: {
    readonly targets: readonly string[];
    readonly budget: number;
    readonly per_module: Readonly<Record<string, number>>;
    readonly steps: number;
    readonly reselection_steps: number;
    readonly selection_accumulation_steps: number;
    readonly initial_reselection_rate: number;
    readonly policy: SpielSettings['policy'];
    readonly lr: number;
    readonly weight_decay: number;
  };
  readonly reselections: readonly {
    readonly after_step: number;
    readonly replaced: Readonly<Record<string, number>>;
  }[];
}

const batches = 4;

/** The method, beginning at the coordinates of the case and telling what it does. */
function watched({ inputs }: CaseFolder, heard: (step: number, now: NamedTensors) => void) {
  const given = (path: string): Tensor => {
    const { shape, data } = inputs.get(`start/${path}.indices`)!;
    return tensor('i64', shape, BigInt64Array.from(data as Int32Array, BigInt));
  };
  return defineMethod({
    ...spiel.method,
    init(target, c, rng, planned) {
      const { train, held } = spiel.method.init(target, c, rng, planned);
      return { train, held: { ...held, 'weight.indices': given(target.path) } };
    },
    async onStep(end) {
      const edit = await spiel.method.onStep!(end);
      const letters = end.sites[0]!.c.criterion === 'ag' ? ['m', 'v', 'age'] : ['row', 'column'];
      const names = end.sites.flatMap(({ target: { path } }) => [
        `${path}:weight`,
        `${path}:weight.indices`,
        ...letters.map((letter) => `${path}:weight:${letter}`),
      ]);
      heard(end.clock.step, new Map([...(await end.read(names)), ...(edit?.set ?? [])]));
      return edit;
    },
  });
}

/** Coordinates and state after every reselection, by the letters of the case. */
function checkReselections(
  folder: CaseFolder,
  checks: Checks,
  steps: readonly NamedTensors[],
  targets: readonly string[],
): void {
  const letters = { phi: '', m: ':m', v: ':v', age: ':age', row: ':row', col: ':column' };
  for (const { after_step: step, replaced } of (folder.record as SpielRecord).reselections) {
    const [before, now] = [steps[step - 2]!, steps[step - 1]!];
    const indices = (of: NamedTensors, path: string) =>
      Array.from(of.get(`${path}:weight.indices`)!.data as BigInt64Array, Number);
    for (const path of targets) {
      const name = `after_${step}/${path}`;
      checkIndices(folder, checks, `${name}.indices`, indices(now, path));
      for (const [theirs, ours] of Object.entries(letters))
        if (folder.expected.has(`${name}.${theirs}`))
          checks.tensor(`${name}.${theirs}`, now.get(`${path}:weight${ours}`));
      const old = new Set(indices(before, path));
      const fresh = indices(now, path).filter((index) => !old.has(index)).length;
      if (fresh !== replaced[path])
        checks.problem(`after_${step}: ${fresh} of ${path} were replaced, not ${replaced[path]}`);
    }
  }
}

/** Gradients of the values at the start. */
async function startGradients(
  { model }: Base,
  bound: ReturnType<typeof spiel>,
  feeds: Readonly<Record<string, Tensor>>,
  { backend }: RunContext,
) {
  const { targets, parameters } = model;
  const plan = bindMethod(bound, { targets, parameters });
  const start = await startTensors(plan, { seed: 0, parameters });
  const form = attachMethod(model.graph('train'), plan, start, { training: true });
  const { graph, loss } = form.model;
  const ops = createOps(graph);
  const slopes = gradients(graph, loss!, form.wrt);
  const names = slopes.map((g, i) => ops.output(g, `d ${form.wrt[i]!.name}`).name);
  const program = await backend.compile(graph, { outputs: names });
  const inputs = { ...feeds, ...Object.fromEntries([...start.held, ...start.train]) };
  const outputs = await program.run(only(inputs, graph.inputs));
  await program.dispose();
  return outputs;
}

/** A fixed number of coordinates that move during training. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { config, variant } = folder.record as SpielRecord;
  const { backend } = context;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const heard: NamedTensors[] = [];
  const bind = watched(folder, (_, now) => heard.push(now));
  const settings: SpielOptions & { targetModules: string[] } = {
    targetModules: [...config.targets],
    criterion: /SM3/.test(variant) ? 'ma' : 'ag',
    reselectEvery: config.reselection_steps,
    accumulateFor: config.selection_accumulation_steps,
    replace: config.initial_reselection_rate,
    policy: config.policy,
  };
  const feeds = Array.from({ length: batches }, (_, i) => feedsOf(base, within(folder.inputs, `batch.${i}/`)));
  const { losses, adapter } = await trainCase(base, {
    method: bind({ ...settings, count: config.budget }),
    backend,
    batches: (t) => feeds[t % batches]!,
    steps: config.steps,
    lr: config.lr,
    schedule: 'constant',
    weightDecay: config.weight_decay,
  });

  for (const [path, count] of Object.entries(config.per_module)) {
    const own = heard[0]!.get(`${path}:weight`)!.shape[0];
    if (own !== count) checks.problem(`${path} has ${own} coordinates, expected ${count}`);
  }
  checks.tensor('loss/steps', tensor('f32', [losses.length], Float32Array.from(losses)));
  checkReselections(folder, checks, heard, config.targets);
  await checkSparse(folder, checks, 'final/', adapter, (name) => `${name}.weight`);
  await checkMerged(folder, checks, base, [adapter]);
  const scene = { base, feeds: feeds[0]!, mask: folder.inputs.get('batch.0/attention_mask'), backend };
  await checkLogits(folder, checks, 'logits/end', { ...scene, adapters: [adapter] });
  await checkShira(folder, checks, scene, adapter);
  for (const path of under(folder, 'grad/')) {
    const one = bind({ ...settings, targetModules: [path], count: config.per_module[path]! });
    const slopes = await startGradients(base, one, feeds[0]!, context);
    checks.tensor(`grad/${path}`, slopes[`d ${path}:weight`]);
  }
  checks.done();
}
