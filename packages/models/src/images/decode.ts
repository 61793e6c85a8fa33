import { PeftError } from '@peftjs/core';
import type { DecodedPng } from 'fast-png';
import { type Image, rgb } from './image.js';
import { exifOrientation, upright } from './orientation.js';

/** Pixels that a file may unfold to, as in common decoders: more is taken for an attack on memory. */
const mostPixels = 100e6;

interface Format {
  readonly name: string;
  readonly signature: readonly number[];
  decode(bytes: Uint8Array): Promise<Image>;
}

const formats: readonly Format[] = [
  { name: 'PNG', signature: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], decode: decodePng },
  { name: 'JPEG', signature: [0xff, 0xd8, 0xff], decode: decodeJpeg },
];

const formatOf = (bytes: Uint8Array): Format | undefined =>
  formats.find(({ signature }) => signature.every((byte, i) => bytes[i] === byte));

/** What is wrong with bytes that no format here begins with; undefined for the others. The first 8 tell. */
export function unreadable(bytes: Uint8Array): string | undefined {
  const known = formats.map(({ name }) => name).join(' and ');
  return formatOf(bytes) ? undefined : `is no image that can be read; read are ${known}.`;
}

/**
 * The picture in a PNG or JPEG file: transparency left aside, greys and palettes as colours, 16 bits cut to 8, turned
 * upright where the camera noted how it was held. `subject` is what messages call it.
 * @throws PeftError FILE_INVALID for other formats and files that are broken or unfold to more than 100 million pixels
 */
export async function decodeImage(bytes: Uint8Array, subject: string): Promise<Image> {
  const format = formatOf(bytes);
  if (!format) throw new PeftError('FILE_INVALID', `${subject} ${unreadable(bytes)}`);
  try {
    return await format.decode(bytes);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `${subject} is a broken ${format.name} file: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function decodeJpeg(bytes: Uint8Array): Promise<Image> {
  const { default: jpeg } = await import('jpeg-js');
  const limits = { maxResolutionInMP: mostPixels / 1e6, tolerantDecoding: false };
  const decoded = jpeg.decode(bytes, { useTArray: true, formatAsRGBA: false, ...limits });
  const { width, height, data, exifBuffer } = decoded as Image & { exifBuffer?: Uint8Array };
  return upright({ width, height, data }, exifBuffer ? exifOrientation(exifBuffer) : 1);
}

async function decodePng(bytes: Uint8Array): Promise<Image> {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pixels = header.getUint32(16) * header.getUint32(20);
  if (pixels > mostPixels) throw new Error(`it unfolds to ${pixels} pixels`);
  const [depth, interlaced] = [bytes[24]!, bytes[28] !== 0];
  if (interlaced && depth < 8) throw new Error(`${depth} bits a sample, interlaced, are not read`);
  const { decode } = await import('fast-png');
  return colours(decode(bytes, { checkCrc: true }));
}

/** Samples of any depth, channels and palette as red, green and blue. */
function colours(png: DecodedPng): Image {
  const { width, height, depth, channels, palette } = png;
  const sample = samples(png);
  const eight = depth === 16 ? (v: number) => v >> 8 : (v: number) => (v * 255) / ((1 << depth) - 1);
  const data = new Uint8Array(width * height * rgb);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const colour = palette?.[sample(pixel * channels)];
    for (let c = 0; c < rgb; c++) {
      // One or two channels are grey, the second of two and the fourth of four its opacity.
      const from = pixel * channels + (channels < rgb ? 0 : c);
      data[pixel * rgb + c] = palette ? (colour?.[c] ?? 0) : eight(sample(from));
    }
  }
  return { width, height, data };
}

/** Sample i of a picture; several share a byte below 8 bits, and every row begins with a new one. */
function samples({ width, depth, channels, data }: DecodedPng): (i: number) => number {
  if (depth >= 8) return (i) => data[i]!;
  const perRow = width * channels;
  const rowBytes = Math.ceil((perRow * depth) / 8);
  return (i) => {
    const bit = (i % perRow) * depth;
    const byte = data[Math.floor(i / perRow) * rowBytes + (bit >> 3)]!;
    return (byte >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
  };
}
