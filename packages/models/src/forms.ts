import { type ModelGraph, PeftError } from '@peftjs/core';
import { mulDim, type ShapedValue } from '@peftjs/core/graph';
import type { TensorRef } from '@peftjs/core/tensor';
import type { Architecture, BuildOptions } from './architectures/architecture.js';
import { createNet, type ParameterSource } from './architectures/net.js';
import { headOf, type ModelTask } from './tasks/task.js';

/**
 * `train`: `loss` [] and `logits` of the rows that `read` names. `evaluate`: for each of those rows `nll` (f32, 0 where
 * there is no label) and `predicted` (i64). `predict`: the task's outputs, no labels. `decode`: `logits` and the new
 * keys and values of a decoder with a cache.
 */
export type Form = 'train' | 'evaluate' | 'predict' | 'decode';

interface FormSpec {
  readonly cache: boolean;
  /** What is computed from `logits` and `labels`. */
  readonly add?: (graph: ModelGraph, ops: Ops) => Record<string, ShapedValue>;
}

type Ops = ReturnType<typeof createNet>['ops'];

const labelInput = (ops: Ops): ShapedValue =>
  ops.reshape(ops.input('labels', 'i64', ['batch', 'reads']), [mulDim('batch', 'reads')]);

const forms: Readonly<Record<Form, FormSpec>> = {
  train: {
    cache: false,
    add: ({ outputs }, ops) => ({
      loss: ops.crossEntropy(outputs.logits!, labelInput(ops), ops.input('loss_weight', 'f32', [])),
    }),
  },
  evaluate: {
    cache: false,
    add({ outputs }, ops) {
      const labels = labelInput(ops);
      const index = ops.unsqueeze(ops.max(labels, 0), [1]);
      const picked = ops.squeeze(ops.gatherElements(ops.logSoftmax(outputs.logits!), index, 1), [1]);
      const counts = ops.cast(ops.greaterOrEqual(labels, 0), 'f32');
      return { nll: ops.neg(ops.mul(picked, counts)), predicted: ops.argmax(outputs.logits!, 1) };
    },
  },
  predict: { cache: false },
  decode: { cache: true },
};

export interface FormOptions {
  /** Rows that `read` names (the default), or all of them. `decode` always reads. */
  readonly read?: boolean;
  /** Also outputs `hidden_states.{i}`. */
  readonly hiddenStates?: boolean;
}

export interface FormRequest extends ParameterSource {
  readonly architecture: Architecture;
  readonly config: unknown;
  readonly task: Pick<ModelTask, 'name' | 'head' | 'trainable'>;
}

const defaults: BuildOptions = {
  read: true,
  cache: false,
  hiddenStates: false,
  classes: 2,
  pooling: { mode: 'mean', normalize: true },
};

/** Builds one form of a model's graph, afresh. @throws PeftError CONFIG_INVALID for a form the task has not */
export function buildForm(
  { architecture, config, task, lookup, tied, shapeOf }: FormRequest,
  form: Form,
  options: FormOptions = {},
): ModelGraph & { readonly loss?: ShapedValue } {
  const spec = forms[form];
  if (spec.add && !task.trainable)
    throw new PeftError(
      'CONFIG_INVALID',
      `The task ${task.name} has no loss, so there is no graph of the form "${form}".`,
    );
  if (spec.cache && !(architecture.cache && headOf(architecture, task.head.name).token === 'last'))
    throw new PeftError(
      'CONFIG_INVALID',
      `The task ${task.name} of a ${architecture.modelType} model does not decode.`,
    );
  if (spec.add && options.read === false)
    throw new PeftError('CONFIG_INVALID', `The form "${form}" has labels for the rows it reads: leave \`read\` on.`);

  const { aliases } = architecture;
  const source = { lookup, tied, ...(aliases && { aliases }), ...(shapeOf && { shapeOf }) };
  const net = createNet(`${architecture.modelType}/${task.name}/${form}`, source);
  const build = { ...defaults, ...task.head.options, ...options, cache: spec.cache };
  const made = headOf(architecture, task.head.name).build(net, config, build);
  const { ops, sites } = net;
  const graph = { graph: ops.graph, sites, outputs: made };
  const added = spec.add?.(graph, ops) ?? {};
  const wanted = form === 'evaluate' ? added : { ...added, ...made };
  const outputs = Object.fromEntries(Object.entries(wanted).map(([name, value]) => [name, ops.output(value, name)]));
  return { ...graph, outputs, ...(outputs.loss && { loss: outputs.loss }) };
}

/** Shapes of every parameter that a task's graph reads, by path. */
export function declaredParameters(
  request: Omit<FormRequest, 'lookup' | 'tied' | 'aliases'>,
): Map<string, readonly number[]> {
  const declared = new Map<string, readonly number[]>();
  const lookup = (path: string, shape: readonly number[]): TensorRef => {
    declared.set(path, shape);
    return {
      dtype: 'f32',
      shape,
      read: () => Promise.reject(new PeftError('INTERNAL', `"${path}" is only declared.`)),
    };
  };
  buildForm({ ...request, lookup, tied: {} }, 'predict');
  return declared;
}
