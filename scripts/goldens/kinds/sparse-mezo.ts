import { attachMethod, bindMethod, f32, type Plan, settlePlan, startTensors, type Tensor } from '@peftjs/core';
import { sparseMezo } from '@peftjs/zeroth-order';
import { masked as maskedDirection, maskOf } from '../../../packages/zeroth-order/src/math.js';
import { logitsOf } from '../adapted.js';
import { type Base, feedsOf, masked, only, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';
import { optimizerOf } from '../optimizers.js';
import { adapterOf, stepsOf, type Trained } from '../trained.js';

interface MezoRecord extends CaseRecord {
  readonly config: {
    readonly parameters: readonly string[];
    readonly eps: number;
    readonly lr: number;
    readonly weight_decay: number;
    readonly steps: number;
    readonly sparsity: number;
    readonly thresholds: Readonly<Record<string, number>>;
  };
}

type Named = ReadonlyMap<string, Tensor>;

const moduleOf = (parameter: string): string => parameter.slice(0, -'.weight'.length);

/** The method on the base, planned from the base's own weights. */
async function planned(
  base: Base,
  { parameters: names, eps, sparsity, weight_decay: weightDecay }: MezoRecord['config'],
): Promise<Trained> {
  const { targets, parameters } = base.model;
  const bound = sparseMezo({ targetModules: names.map(moduleOf), epsilon: eps, sparsity, weightDecay });
  const plan = bindMethod(bound, { targets, parameters });
  const settled = await settlePlan(plan, {
    sites: plan.sites,
    weight: (path: string) => parameters.get(path)!.read(),
  } as never);
  return { base, bound, plan: settled, start: await startTensors(settled, { seed: 0, parameters }) };
}

/** The case's noise at the numbers that the mask keeps, in place of random numbers. */
const noiseWhere = (mask: Uint8Array, noise: Tensor) => ({
  normal: (shape: readonly number[]) =>
    f32(
      shape,
      (noise.data as Float32Array).filter((_, i) => mask[i]),
    ),
});

/** The same plan with the case's noise in place of random numbers: update by update, target by target. */
function withNoise(plan: Plan, inputs: Tensors): Plan {
  const calls = new Map<string, number>();
  const { forward } = plan.method;
  return {
    ...plan,
    method: {
      ...plan.method,
      forward: {
        ...forward!,
        direction(site) {
          const { path } = site.target;
          const { threshold } = site.c as { threshold: number };
          const t = calls.get(path) ?? 0;
          calls.set(path, t + 1);
          const noise = inputs.get(`z.${t}/${path}.weight`)!;
          const kept = noiseWhere(maskOf(site.p.w!, site.p.d!, threshold), noise);
          return forward!.direction({ ...site, rng: { ...site.rng, ...kept } });
        },
      },
    },
  };
}

/** m ⊙ z of update t, by graph name. */
const directions = ({ plan, start }: Trained, train: Named, inputs: Tensors, t: number): Map<string, Tensor> =>
  new Map(
    plan.sites.map(({ target: { path }, c }) => {
      const z = inputs.get(`z.${t}/${path}.weight`)!;
      const { threshold } = c as { threshold: number };
      const mask = maskOf(start.frozen.get(`${path}:w`)!, train.get(`${path}:d`)!, threshold);
      return [`${path}:d`, maskedDirection(mask, z.shape, noiseWhere(mask, z))];
    }),
  );

const moved = (train: Named, z: Named, factor: number): Named =>
  new Map(
    [...train].map(([name, { shape, data }]) => [
      name,
      f32(
        shape,
        (data as Float32Array).map((x, i) => x + factor * Number(z.get(name)!.data[i])),
      ),
    ]),
  );

/** θ = w + d, by parameter path. */
const weights = ({ plan, start }: Trained, train: Named): Map<string, Tensor> =>
  new Map(
    plan.sites.map(({ target: { path } }) => {
      const [w, d] = [start.frozen.get(`${path}:w`)!, train.get(`${path}:d`)!];
      return [
        `${path}.weight`,
        f32(
          w.shape,
          (w.data as Float32Array).map((x, i) => x + Number(d.data[i])),
        ),
      ];
    }),
  );

/** Sparse MeZO: thresholds, masks, both losses, the slope, and weights that follow from given noise. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { config } = folder.record as MezoRecord;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const given = await planned(base, config);
  const trained: Trained = { ...given, plan: withNoise(given.plan, inputs) };
  const checks = createChecks(folder);
  const mask = inputs.get('attention_mask');

  for (const { target, c } of trained.plan.sites) {
    const name = `${target.path}.weight`;
    const [got, wanted] = [(c as { threshold: number }).threshold, config.thresholds[name]!];
    // 1e-7: the case says the threshold in float64, its weights are float32.
    if (Math.abs(got - wanted) > 1e-7 * wanted) checks.problem(`threshold of ${name}: ${got}, expected ${wanted}`);
    const w = trained.start.frozen.get(`${target.path}:w`)!;
    const chosen = maskOf(w, trained.start.train.get(`${target.path}:d`)!, got);
    if (chosen.some((value, i) => value !== Number(expected.get(`mask_0/${name}`)!.data[i])))
      checks.problem(`mask_0/${name} differs`);
  }
  checks.leave((name) => name.startsWith('mask_0/') || name === 'projected_gradient/steps_float64');
  checks.tensor('logits/base', masked(await logitsOf(base, [], feeds, backend), expected.get('logits/base')!, mask));

  const form = attachMethod(base.model.graph('train'), trained.plan, trained.start, { training: true });
  const { graph, loss } = form.model as ReturnType<Base['model']['graph']>;
  const program = await backend.compile(graph, { outputs: [loss!.name] });
  const lossAt = async (train: Named): Promise<number> =>
    Number((await program.run(only({ ...feeds, ...Object.fromEntries(train) }, graph.inputs)))[loss!.name]!.data[0]);
  const recipe = {
    lr: config.lr,
    steps: config.steps,
    optimizer: optimizerOf({ type: 'SGD', lr: config.lr }),
  };
  const series: Record<'plus' | 'minus' | 'slope', number[]> = { plus: [], minus: [], slope: [] };
  let now: Named = trained.start.train;
  let t = 0;
  for await (const { train } of stepsOf(trained, recipe, feeds, backend)) {
    const z = directions(trained, now, inputs, t);
    const plus = await lossAt(moved(now, z, config.eps));
    const minus = await lossAt(moved(now, z, -config.eps));
    series.plus.push(plus);
    series.minus.push(minus);
    series.slope.push((plus - minus) / (2 * config.eps));
    now = train;
    t++;
  }
  await program.dispose();
  const numbers = (values: readonly number[]) => f32([values.length], values);
  checks.tensor('loss_plus/steps', numbers(series.plus));
  checks.tensor('loss_minus/steps', numbers(series.minus));
  checks.tensor('projected_gradient/steps', numbers(series.slope));
  for (const [path, theta] of weights(trained, now)) checks.tensor(`final/${path}`, theta);
  const adapter = await adapterOf(trained, now);
  checks.tensor(
    'logits/end',
    masked(await logitsOf(base, [adapter], feeds, backend), expected.get('logits/end')!, mask),
  );
  checks.done();
}
