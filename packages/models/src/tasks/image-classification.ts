import { type Example, PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import type { ImageShape } from '../architectures/architecture.js';
import { imageBatch } from '../data/image-batch.js';
import { readBytes, readFileBytes } from '../directory.js';
import { decodeImage, unreadable } from '../images/decode.js';
import type { Image } from '../images/image.js';
import { readPreprocessor } from '../images/preprocess.js';
import { type ClassificationOptions, classification } from './classification.js';
import { type ModelPieces, missingColumns, type TaskFactory } from './task.js';

/** What a row's image may be: the bytes of a PNG or JPEG file, pixels, or f32 [channels, height, width] as the model takes it. */
export type ImageInput = Uint8Array | Image | Tensor;

export interface ImageClassificationOptions extends ClassificationOptions {
  /** Gets what the column `image` names. Default: reads the file at that path. */
  readonly open?: (image: string) => Promise<ImageInput> | ImageInput;
}

export interface LabelledImage extends Example {
  /** What the column `image` says. */
  readonly image: string;
  readonly row: number;
  /** f32 [channels, height, width], once it is loaded. */
  readonly pixels?: Float32Array;
  readonly label?: number;
}

/**
 * One label for a picture: column `image` is the path of a PNG or JPEG file, column `label` a label or its number.
 * Pictures are read batch by batch and prepared as the model's preprocessor_config.json says. The classification head is
 * trained and saved with the adapter.
 */
export function imageClassification(options: ImageClassificationOptions = {}): TaskFactory<LabelledImage> {
  return async (pieces) => {
    const { task, labelOf } = classification(pieces, 'image-classification', options);
    const shape = shapeOf(pieces);
    const prepare = await readPreprocessor(pieces.directory, shape);
    const open = options.open ?? readFileBytes;

    const nameOf = ({ image, row }: LabelledImage) => `The image ${JSON.stringify(image)} of row ${row}`;

    async function load(example: LabelledImage): Promise<LabelledImage> {
      const subject = nameOf(example);
      const input = await open(example.image);
      if ('dtype' in input) return { ...example, pixels: taken(input, shape, subject) };
      const image = input instanceof Uint8Array ? await decodeImage(input, subject) : input;
      return { ...example, pixels: prepare(image, subject) };
    }

    return {
      ...task,
      column: 'image',
      encode(row, index) {
        if (row.image === undefined) throw missingColumns(row, index, 'the column `image`');
        const label = labelOf(row, index);
        return { length: shape.tokens, image: row.image, row: index, ...(label !== undefined && { label }) };
      },
      ...(!options.open && { check: (example) => checkFile(example.image, nameOf(example)) }),
      load: (examples) => Promise.all(examples.map(load)),
      batch(examples, indices, { labels: labelled = true } = {}) {
        const pictures = examples.map(({ pixels, label, row }) => {
          if (labelled && label === undefined) throw missingColumns({}, row, 'the column `label`');
          if (!pixels) throw new PeftError('INTERNAL', `The image of row ${row} was not loaded before its batch.`);
          return { pixels, ...(label !== undefined && { label }) };
        });
        return imageBatch(pictures, indices, shape, { labels: labelled });
      },
    };
  };
}

/** @throws PeftError DATA_INVALID where there is no such file, or one of another format */
async function checkFile(path: string, subject: string): Promise<void> {
  const head = await readBytes(path, 8);
  const problem = head ? unreadable(head) : 'does not exist.';
  if (problem) throw new PeftError('DATA_INVALID', `${subject} ${problem}`);
}

/** @throws PeftError MODEL_UNSUPPORTED for a model that sees no images */
function shapeOf({ architecture, config }: ModelPieces): ImageShape {
  const shape = architecture.image?.(architecture.config(config.raw));
  if (shape) return shape;
  throw new PeftError('MODEL_UNSUPPORTED', `Models of type "${architecture.modelType}" do not take images.`);
}

/** Values that are prepared already. */
function taken({ dtype, shape, data }: Tensor, { channels, size }: ImageShape, subject: string): Float32Array {
  const wanted = [channels, ...size];
  if (dtype === 'f32' && shape.join() === wanted.join()) return data as Float32Array;
  const message = `${subject} is a tensor ${dtype} [${shape}]; this model takes f32 [${wanted}].`;
  throw new PeftError('DATA_INVALID', message, { details: { dtype, shape, wanted } });
}
