import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Adapter,
  type Attached,
  applyAdapter,
  attachDelta,
  attachMethod,
  type Backend,
  type Bound,
  baseLook,
  bindMethod,
  builtinKinds,
  builtinLayouts,
  groupsOf,
  type Kinds,
  type Method,
  type MethodFunction,
  PeftError,
  type Plan,
  readAdapter,
  resumeTensors,
  type Start,
  settlePlan,
  type Tensor,
  toAdapter,
} from '@peftjs/core';
import { ia3 } from '@peftjs/ia3';
import { lora } from '@peftjs/lora';
import { vera } from '@peftjs/vera';
import type * as z from 'zod';
import { planSteps } from '../../packages/core/src/train/plan.js';
import type { StepPlan } from '../../packages/core/src/train/stepper.js';
import { type Base, only } from './base.js';
import { runOf, type TorchOptimizer } from './optimizers.js';

/** A method laid out on the base, with what it finds in the weights. */
export async function planOf({ model }: Base, bound: Bound, start?: Adapter): Promise<Plan> {
  const { targets, parameters } = model;
  const plan = bindMethod(bound, { targets, parameters });
  return settlePlan(plan, baseLook({ plan, parameters, seed: 0, ...(start && { start }) }));
}

const methods = [lora, ia3, vera] as unknown as readonly MethodFunction<z.ZodType>[];

/** How a case's optimizer changes the method: LoRA+ and LoRA-FA are optimizers in PEFT, options of the method here. */
export interface CaseOptimizer extends TorchOptimizer {
  readonly steps: number;
  readonly max_grad_norm?: number;
  readonly loraplus_lr_ratio?: number;
  readonly lr_embedding?: number;
}

function optionsOf({
  type,
  loraplus_lr_ratio: ratio,
  lr_embedding: embeddingLr,
}: CaseOptimizer): Record<string, unknown> {
  return { ...(ratio !== undefined && { plus: { ratio, embeddingLr } }), ...(type === 'LoRA-FA' && { fa: true }) };
}

/** A method laid out on the base as an adapter's file says, with the adapter's tensors. */
export interface Adapted {
  readonly base: Base;
  readonly plan: Plan;
  readonly start: Start;
}

/** The adapter folders of a case, by name. */
export const adapterFolders = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => existsSync(join(path, name, 'adapter_config.json')))
    .sort();

/** Reads an adapter of the case against the base. @throws PeftError CONFIG_UNSUPPORTED, ADAPTER_INVALID */
export const openAdapter = ({ model }: Base, folder: string): Promise<Adapter> =>
  readAdapter(folder, { base: { parameters: model.parameters, targets: model.targets }, warn: () => {} });

/** Binds the method that made an adapter, to train it on. @throws PeftError CONFIG_UNSUPPORTED */
export async function adapt(base: Base, adapter: Adapter, optimizer: CaseOptimizer): Promise<Adapted> {
  const { name, config } = adapter.method!;
  const bind = methods.find(({ method }) => (method as Method).name === name);
  if (!bind) throw new PeftError('CONFIG_UNSUPPORTED', `No method "${name}".`);
  const bound: Bound = bind({ ...(config as object), ...optionsOf(optimizer) });
  const plan = await planOf(base, bound, adapter);
  const { parameters } = base.model;
  return { base, plan, start: await resumeTensors(plan, adapter, { seed: 0, parameters }) };
}

/** A training graph with the method in it. */
export function attachTraining({ base, plan, start }: Adapted): {
  attached: Attached;
  training: Parameters<typeof planSteps>[0];
} {
  const attached = attachMethod(base.model.graph('train'), plan, start, { training: true });
  const { graph, loss } = attached.model as ReturnType<Base['model']['graph']>;
  return { attached, training: { graph, loss: loss!, trainables: attached.trainables } };
}

export interface Steps {
  readonly steps: StepPlan;
  readonly attached: Attached;
}

/** The updates of a case, as `train` would run them. */
export function stepsOf(adapted: Adapted, optimizer: CaseOptimizer, gradAccumulation = 1): Steps {
  const { attached, training } = attachTraining(adapted);
  const rules = attached.trainables.map(({ rule }) => rule);
  const { groups, of } = groupsOf(rules, runOf(optimizer));
  const { max_grad_norm: maxGradNorm } = optimizer;
  const options = { groups, groupOf: of, gradAccumulation };
  return { attached, steps: planSteps(training, { ...options, ...(maxGradNorm !== undefined && { maxGradNorm }) }) };
}

/** Trained tensors as an adapter. */
export const adapterOf = ({ plan, start, base }: Adapted, trained: ReadonlyMap<string, Tensor>): Promise<Adapter> =>
  toAdapter(plan, { ...start, train: new Map([...start.train, ...trained]) }, { parameters: base.model.parameters });

/** An adapter's tensors by the names they have in its file. */
export async function fileTensors(adapter: Adapter, plan: Plan): Promise<Map<string, Tensor>> {
  const { tensors } = await builtinLayouts.get(plan.method.layout)!.write(adapter, { kinds: builtinKinds });
  const read = new Map<string, Tensor>();
  for (const [name, ref] of tensors) read.set(name, await ref.read());
  return read;
}

/** Logits of the base with adapters side by side. */
export async function logitsOf(
  { model }: Base,
  adapters: readonly Adapter[],
  feeds: Readonly<Record<string, Tensor>>,
  backend: Backend,
  kinds: Kinds = builtinKinds,
): Promise<Tensor> {
  let form: ReturnType<typeof model.graph> = model.graph('predict');
  for (const adapter of adapters) form = await attachDelta(form, adapter, { parameters: model.parameters, kinds });
  const program = await backend.compile(form.graph, { outputs: [form.outputs.logits!.name] });
  const outputs = await program.run(only(feeds, form.graph.inputs));
  await program.dispose();
  return outputs[form.outputs.logits!.name]!;
}

/** A parameter with adapters merged into it. */
export function mergedParameter({ model }: Base, adapters: readonly Adapter[], path: string): Promise<Tensor> {
  let parameters = model.parameters;
  for (const adapter of adapters) parameters = applyAdapter(parameters, adapter).parameters;
  return parameters.get(path)!.read();
}
