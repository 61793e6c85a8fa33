import { join } from 'node:path';
import { elementCount, PeftError, type Tensor, tensor } from '@peftjs/core';
import { causalLm, imageClassification, loadModel, type Model, sequenceClassification } from '@peftjs/models';
import type { CaseFolder, Tensors } from './case.js';

/** Whether the model's labels stand for the next token (a language model), for a whole sequence or for an image. */
export type LabelKind = 'next-token' | 'sequence' | 'image';

export interface Base {
  readonly model: Model;
  readonly labels: LabelKind;
}

const open: readonly { readonly classes: RegExp; load(directory: string): Promise<Base> }[] = [
  {
    classes: /(ForCausalLM|LMHeadModel)$/,
    load: async (directory) => ({ model: await loadModel(directory, { task: causalLm() }), labels: 'next-token' }),
  },
  {
    classes: /ForSequenceClassification$/,
    load: async (directory) => ({
      model: await loadModel(directory, { task: sequenceClassification() }),
      labels: 'sequence',
    }),
  },
  {
    classes: /ForImageClassification$/,
    load: async (directory) => ({
      model: await loadModel(directory, { task: imageClassification() }),
      labels: 'image',
    }),
  },
];

/** The base model of a case. @throws PeftError MODEL_UNSUPPORTED for a class that has no task here */
export async function openBase({ root, record }: CaseFolder): Promise<Base> {
  const { path, class: name } = record.base!;
  const found = open.find(({ classes }) => classes.test(name));
  if (!found) throw new PeftError('MODEL_UNSUPPORTED', `No task for a model of class ${name}.`);
  return found.load(join(root, path));
}

const i64 = (shape: readonly number[], value: (i: number) => number): Tensor =>
  tensor(
    'i64',
    shape,
    BigInt64Array.from({ length: elementCount(shape) }, (_, i) => BigInt(value(i))),
  );

/** Labels, and what their mean loss is made with. */
const labelFeeds = (labels: Tensor): Record<string, Tensor> => {
  const counted = Array.from(labels.data as BigInt64Array).filter((value) => value >= 0n).length;
  return { labels, loss_weight: tensor('f32', [], Float32Array.of(1 / counted)) };
};

/** Images as feeds: the class token of each is read. */
function imageFeeds({ model }: Base, inputs: Tensors): Record<string, Tensor> {
  const pixels = inputs.get('pixel_values');
  if (!pixels) throw new PeftError('MODEL_UNSUPPORTED', `Inputs without pixel_values: ${[...inputs.keys()]}.`);
  const { architecture, config } = model;
  const { tokens } = architecture.image!(architecture.config(config.raw));
  const batch = pixels.shape[0]!;
  const given = inputs.get('labels');
  return {
    pixel_values: pixels,
    read: i64([batch, 1], (b) => b * tokens),
    ...(given && labelFeeds(i64([batch, 1], (b) => Number(given.data[b])))),
  };
}

/** Hugging Face inputs as feeds of a graph. */
export const feedsOf = (base: Base, inputs: Tensors): Record<string, Tensor> =>
  base.labels === 'image' ? imageFeeds(base, inputs) : textFeeds(base, inputs);

/**
 * Texts as feeds: mask, types and positions filled in where they are not given, every row read (of a language model) or
 * the first of each sequence, labels moved to the row that predicts them.
 */
function textFeeds({ labels: kind, model }: Base, inputs: Tensors): Record<string, Tensor> {
  const ids = inputs.get('input_ids');
  if (!ids) throw new PeftError('MODEL_UNSUPPORTED', `Inputs without input_ids: ${[...inputs.keys()]}.`);
  const [batch, length] = ids.shape as [number, number];
  const given = inputs.get('labels');
  const token = model.architecture.heads[model.task.head.name]?.token;
  const first = (b: number) => b * length + (token === 'last' ? length - 1 : 0);
  const whole = kind === 'next-token';
  const label = (i: number) => {
    if (!whole) return Number(given!.data[i]);
    return i % length === length - 1 ? -100 : Number(given!.data[i + 1]);
  };
  const labels = given && i64([batch, whole ? length : 1], label);
  return {
    input_ids: ids,
    attention_mask: inputs.get('attention_mask') ?? i64(ids.shape, () => 1),
    position_ids: inputs.get('position_ids') ?? i64(ids.shape, (i) => i % length),
    token_type_ids: inputs.get('token_type_ids') ?? i64(ids.shape, () => 0),
    read: whole ? i64([batch, length], (i) => i) : i64([batch, 1], first),
    ...(labels && labelFeeds(labels)),
  };
}

/** The feeds that a program has inputs for. */
export const only = (feeds: Readonly<Record<string, Tensor>>, inputs: readonly { readonly name: string }[]) =>
  Object.fromEntries(inputs.flatMap(({ name }) => (feeds[name] ? [[name, feeds[name]] as const] : [])));

export const reshaped = (value: Tensor | undefined, shape: readonly number[]): Tensor | undefined =>
  value && { ...value, shape };

/** The result with the expected numbers where the mask is 0: such positions carry no meaning. Rows are [batch, length]. */
export function masked(got: Tensor | undefined, expected: Tensor, mask: Tensor | undefined): Tensor | undefined {
  if (!got || !mask || expected.shape.length < 3) return reshaped(got, expected.shape);
  const data = Float32Array.from(got.data as Float32Array);
  const width = data.length / mask.data.length;
  mask.data.forEach((kept, row) => {
    if (Number(kept) === 0)
      data.set((expected.data as Float32Array).subarray(row * width, (row + 1) * width), row * width);
  });
  return { ...got, shape: expected.shape, data };
}
