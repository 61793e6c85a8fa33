import { PeftError, Problems } from '@peftjs/core';
import * as z from 'zod';
import type { ImageShape } from '../architectures/architecture.js';
import { readJson } from '../directory.js';
import { type Image, rgb } from './image.js';
import { filters, resize } from './resize.js';

/** A picture as a model takes it: f32 [channels, height, width]. `subject` is what messages call it. */
export type Preprocessor = (image: Image, subject: string) => Float32Array;

const channel = z.union([z.number(), z.array(z.number()).length(rgb)]);
const side = z.int().positive();
const Fields = z.looseObject({
  do_resize: z.boolean().default(true),
  size: z.union([side, z.looseObject({ height: side.optional(), width: side.optional() })]).nullish(),
  resample: z.int().nullish(),
  do_rescale: z.boolean().nullish(),
  rescale_factor: z.number().nullish(),
  do_normalize: z.boolean().default(true),
  image_mean: channel.nullish(),
  image_std: channel.nullish(),
  do_center_crop: z.boolean().nullish(),
  do_pad: z.boolean().nullish(),
});

type Settings = z.output<typeof Fields>;

/** What transformers' ViTImageProcessor does where the file says nothing: bilinear, and [0, 1] moved to [-1, 1]. */
const missing = { resample: 2, factor: 1 / 255, mean: 0.5, std: 0.5 };

const file = 'preprocessor_config.json';

/**
 * The preprocessing that a model directory asks for (preprocessor_config.json): resize, rescale, normalize.
 * @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED naming every step that is not built
 */
export async function readPreprocessor(directory: string, shape: ImageShape): Promise<Preprocessor> {
  const parsed = Fields.safeParse((await readJson(directory, file)) ?? {});
  const problems = new Problems();
  for (const { path, message } of parsed.error?.issues ?? []) problems.add(`${path.join('.')}: ${message}`);
  problems.throwIfAny('FILE_INVALID', `${directory}/${file}`);
  const settings = parsed.data!;
  checkBuilt(settings, shape, `${directory}/${file}`);
  const filter = filters[settings.resample ?? missing.resample]!;
  const scale = values(settings, shape);
  const [height, width] = shape.size;
  return (image, subject) => {
    if (settings.do_resize) return scale(resize(image, width, height, filter));
    if (image.width === width && image.height === height) return scale(image);
    const sizes = `${image.width}x${image.height} pixels, and this model takes ${width}x${height}`;
    throw new PeftError('DATA_INVALID', `${subject} has ${sizes}; ${file} has do_resize false.`);
  };
}

function checkBuilt(settings: Settings, shape: ImageShape, subject: string): void {
  const problems = new Problems();
  const [height, width] = shape.size;
  const size = settings.size ?? { height, width };
  const wanted = typeof size === 'number' ? { height: size, width: size } : size;
  if (settings.do_resize && (wanted.height !== height || wanted.width !== width))
    problems.add(`size ${JSON.stringify(size)}: the model sees ${height}x${width}, and positions are not interpolated`);
  if (!filters[settings.resample ?? missing.resample])
    problems.add(`resample ${settings.resample} (built are ${Object.keys(filters).join(' and ')})`);
  if (settings.do_center_crop) problems.add('do_center_crop true');
  if (settings.do_pad) problems.add('do_pad true');
  if (shape.channels !== rgb) problems.add(`a model of ${shape.channels} channels (built is ${rgb}, red, green, blue)`);
  problems.throwIfAny('MODEL_UNSUPPORTED', `${subject} asks for what is not built`);
}

/** (v · factor - mean) / std of every value, channel after channel. */
function values(settings: Settings, { channels, size: [height, width] }: ImageShape): (image: Image) => Float32Array {
  const of = (given: Settings['image_mean'], otherwise: number) =>
    Array.from({ length: channels }, (_, c) => (Array.isArray(given) ? given[c]! : (given ?? otherwise)));
  const factor = settings.do_rescale === false ? 1 : (settings.rescale_factor ?? missing.factor);
  const [mean, std] = settings.do_normalize
    ? [of(settings.image_mean, missing.mean), of(settings.image_std, missing.std)]
    : [of(0, 0), of(1, 1)];
  // There are 256 values a channel.
  const tables = mean.map((m, c) =>
    Float32Array.from({ length: 256 }, (_, v) => (Math.fround(v * factor) - m) / std[c]!),
  );
  const area = height * width;
  return ({ data }) => {
    const pixels = new Float32Array(channels * area);
    for (let i = 0; i < area; i++)
      for (let c = 0; c < channels; c++) pixels[c * area + i] = tables[c]![data[i * rgb + c]!]!;
    return pixels;
  };
}
