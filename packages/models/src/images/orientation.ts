import { type Image, rgb } from './image.js';

const orientationTag = 0x0112;

/** How a camera was held (1 to 8 in Exif 2.3, 4.6.4), from an Exif block; 1 where it does not say. */
export function exifOrientation(block: Uint8Array): number {
  // A zero may stand before the TIFF header, left over from the block's name.
  const start = block[0] === 0 ? 1 : 0;
  const view = new DataView(block.buffer, block.byteOffset + start, block.byteLength - start);
  if (view.byteLength < 8) return 1;
  const little = view.getUint16(0) === 0x4949; // "II"
  const directory = view.getUint32(4, little);
  if (directory + 2 > view.byteLength) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + i * 12;
    if (at + 12 > view.byteLength) return 1;
    if (view.getUint16(at, little) !== orientationTag) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** For each orientation: whether rows become columns, and whether what is stored runs from the right, from the bottom. */
const turns: readonly (readonly [swap: boolean, right: boolean, bottom: boolean])[] = [
  [false, false, false],
  [false, true, false],
  [false, true, true],
  [false, false, true],
  [true, false, false],
  [true, false, true],
  [true, true, true],
  [true, true, false],
];

/** The picture as it was seen. */
export function upright(image: Image, orientation: number): Image {
  if (orientation === 1) return image;
  const [swap, right, bottom] = turns[orientation - 1]!;
  const { width: w, height: h } = image;
  const [width, height] = swap ? [h, w] : [w, h];
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [column, row] = swap ? [y, x] : [x, y];
      const from = ((bottom ? h - 1 - row : row) * w + (right ? w - 1 - column : column)) * rgb;
      data.set(image.data.subarray(from, from + rgb), (y * width + x) * rgb);
    }
  return { width, height, data };
}
