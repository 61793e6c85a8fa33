import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { describe, expect, it, onTestFinished } from 'vitest';
import { decodeImage } from '../src/images/decode.js';
import type { Image } from '../src/images/image.js';
import { exifOrientation, upright } from '../src/images/orientation.js';
import { readPreprocessor } from '../src/images/preprocess.js';
import { filters, resize } from '../src/images/resize.js';

interface Pillow {
  readonly resized: Record<string, { filter: number; size: [number, number]; rgb: number[] }>;
  readonly large: Record<string, string>;
  readonly files: Record<string, { file: string; rgb: number[] }>;
  readonly jpeg: Record<string, { file: string; rgb: number[] }>;
}

const pillow = JSON.parse(readFileSync(new URL('./fixtures/pillow.json', import.meta.url), 'utf8')) as Pillow;

/** The picture that Pillow was given. */
function picture(width: number, height: number): Image {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = (x * 37 + y * 59 + c * 101 + x * y * 7) % 256;
  }
  return { width, height, data };
}

const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

describe('resizing', () => {
  it.each(Object.entries(pillow.resized))('%s equals Pillow to the bit', (_, { filter, size, rgb }) => {
    const { data, width, height } = resize(picture(7, 5), ...size, filters[filter]!);
    expect([width, height]).toEqual(size);
    expect([...data]).toEqual(rgb);
  });

  it.each(Object.entries(pillow.large))(
    'of 500x375 to 224x224 by filter %s equals Pillow to the bit',
    (filter, sha) => {
      const { data } = resize(picture(500, 375), 224, 224, filters[Number(filter)]!);
      expect(createHash('sha256').update(data).digest('hex')).toBe(sha);
    },
  );

  it('to the same size copies', () => {
    const image = picture(3, 2);
    const same = resize(image, 3, 2, filters[2]!);
    expect(same).toEqual(image);
    expect(same.data).not.toBe(image.data);
  });
});

describe('files', () => {
  it.each(Object.entries(pillow.files))('a PNG %s is read as Pillow reads it', async (_, { file, rgb }) => {
    expect([...(await decodeImage(bytes(file), 'it')).data]).toEqual(rgb);
  });

  it('a PNG of 16 bits is cut to 8', async () => {
    const data = Uint16Array.of(0x12ff, 0x3400, 0xffff);
    const file = encode({ width: 1, height: 1, data, depth: 16, channels: 3 });
    expect([...(await decodeImage(file, 'it')).data]).toEqual([0x12, 0x34, 0xff]);
  });

  it.each(Object.entries(pillow.jpeg))('a JPEG %s is read as Pillow reads it', async (_, { file, rgb }) => {
    const { data } = await decodeImage(bytes(file), 'it');
    const largest = Math.max(...rgb.map((value, i) => Math.abs(value - data[i]!)));
    expect(largest).toBeLessThanOrEqual(2); // inverse transforms of decoders round differently
  });

  it('what is no image, or a broken one, is refused by name', async () => {
    await expect(decodeImage(Uint8Array.of(71, 73, 70), 'The image "a.gif"')).rejects.toThrow(
      /The image "a\.gif" is no image that can be read; read are PNG and JPEG/,
    );
    const whole = bytes(pillow.files.colour!.file);
    await expect(decodeImage(whole.subarray(0, 40), 'it')).rejects.toMatchObject({ code: 'FILE_INVALID' });
    const [jpeg] = Object.values(pillow.jpeg);
    await expect(decodeImage(bytes(jpeg!.file).subarray(0, 300), 'it')).rejects.toThrow(/broken JPEG/);
  });

  it('a PNG that says it is huge is refused before it unfolds', async () => {
    const file = bytes(pillow.files.colour!.file);
    new DataView(file.buffer).setUint32(16, 100_000);
    new DataView(file.buffer).setUint32(20, 100_000);
    await expect(decodeImage(file, 'it')).rejects.toThrow(/unfolds to 10000000000 pixels/);
  });

  it('every way to hold a camera is turned upright', () => {
    const data = Uint8Array.from({ length: 18 }, (_, i) => Math.floor(i / 3));
    const turned = [1, 2, 3, 4, 5, 6, 7, 8].map((orientation) => {
      const image = upright({ width: 3, height: 2, data }, orientation);
      return [image.width, ...image.data.filter((_, i) => i % 3 === 0)].join('');
    });
    expect(turned).toEqual(['3012345', '3210543', '3543210', '3345012', '2031425', '2304152', '2524130', '2251403']);
  });

  it('an Exif block that is cut or odd counts as upright', () => {
    expect(exifOrientation(Uint8Array.of(0, 0x49, 0x49, 42))).toBe(1);
    const outside = Uint8Array.of(0x4d, 0x4d, 0, 42, 0, 0, 255, 255);
    expect(exifOrientation(outside)).toBe(1);
    const entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1];
    const big = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, ...entry];
    expect(exifOrientation(Uint8Array.from([...big, 0, 6, 0, 0]))).toBe(6);
    expect(exifOrientation(Uint8Array.from([...big, 0, 9, 0, 0]))).toBe(1);
    expect(exifOrientation(Uint8Array.from(big))).toBe(1);
  });
});

describe('preprocessor_config.json', () => {
  const shape = { channels: 3, size: [2, 2], tokens: 5 } as const;

  async function preprocessor(config?: object) {
    const directory = await mkdtemp(join(tmpdir(), 'peftjs-images-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    if (config) await writeFile(join(directory, 'preprocessor_config.json'), JSON.stringify(config));
    return readPreprocessor(directory, shape);
  }
  const image: Image = { width: 1, height: 1, data: Uint8Array.of(0, 51, 255) };

  it('resizes, rescales and normalizes, channel by channel', async () => {
    const prepare = await preprocessor({ size: { height: 2, width: 2 }, image_mean: [0.1, 0.2, 0.5], image_std: 0.25 });
    const values = prepare(image, 'it');
    expect([...values]).toEqual([-0.4, 0, 2].flatMap((v) => Array(4).fill(expect.closeTo(v, 6)))); // f32
  });

  it('takes the values of ViT where the file says nothing, or is not there', async () => {
    expect([...(await preprocessor())(image, 'it')].filter((_, i) => i % 4 === 0)).toEqual([
      -1,
      expect.closeTo(-0.6, 6), // f32
      1,
    ]);
    const old = await preprocessor({ size: 2, feature_extractor_type: 'ViTFeatureExtractor', resample: 2 });
    expect(old(image, 'it')).toEqual((await preprocessor())(image, 'it'));
  });

  it('leaves out steps that are switched off', async () => {
    const plain = await preprocessor({ do_resize: false, do_rescale: false, do_normalize: false });
    expect([...plain(picture(2, 2), 'it')].slice(0, 4)).toEqual([0, 37, 59, 103]);
    expect(() => plain(image, 'The image "x.png"')).toThrow(/The image "x\.png" has 1x1 pixels.*takes 2x2.*do_resize/);
  });

  it('refuses all that is not built at once', async () => {
    const wrong = preprocessor({ size: { shortest_edge: 2 }, resample: 1, do_center_crop: true, do_pad: true });
    await expect(wrong).rejects.toThrow(/shortest_edge[\s\S]*resample 1[\s\S]*do_center_crop[\s\S]*do_pad/);
    await expect(preprocessor({ image_mean: [1, 2] })).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});
