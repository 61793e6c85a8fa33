import type { ConvOptions } from '@peftjs/core/graph';
import type { Case } from './case.js';

type Size = readonly [number, number];

const conv = (
  name: string,
  { size, weight, ...options }: ConvOptions & { size: Size; weight: readonly number[] },
): Case => {
  const channels = weight[1]! * (options.groups ?? 1);
  return {
    name: `convolution ${name}`,
    inputs: { x: { shape: ['batch', channels, ...size] }, w: { shape: weight }, b: { shape: [weight[0]!] } },
    build: (ops, { x, w, b }) => ops.conv2d(x!, w!, b!, options),
  };
};

const transposed = (
  name: string,
  { from, weight, size, ...options }: ConvOptions & { from: Size; weight: readonly number[]; size: Size },
): Case => ({
  name: `transposed convolution ${name}`,
  forwardOnly: true,
  inputs: { y: { shape: ['batch', weight[0]!, ...from] }, w: { shape: weight } },
  build: (ops, { y, w }) => ops.convTranspose2d(y!, w!, size, options),
});

export const convolutionCases: readonly Case[] = [
  conv('of patches', { size: [6, 4], weight: [3, 2, 2, 2], strides: [2, 2] }),
  conv('of patches that leave a rest', { size: [7, 5], weight: [3, 2, 3, 2], strides: [3, 2] }),
  conv('of single pixels', { size: [3, 3], weight: [4, 2, 1, 1] }),
  conv('with overlap and padding', { size: [4, 5], weight: [2, 2, 3, 3], pads: [1, 1, 1, 1] }),
  conv('with another padding on each side', {
    size: [4, 5],
    weight: [2, 1, 3, 2],
    strides: [2, 1],
    pads: [2, 0, 1, 1],
  }),
  conv('with gaps', { size: [6, 7], weight: [2, 2, 2, 3], dilations: [3, 2], strides: [1, 2] }),
  conv('in groups', { size: [5, 4], weight: [4, 2, 2, 2], groups: 2, strides: [2, 1], pads: [0, 1, 0, 1] }),
  conv('of each channel by itself', { size: [4, 4], weight: [3, 1, 2, 2], groups: 3 }),
  transposed('of patches', { from: [3, 2], weight: [3, 2, 2, 2], size: [6, 4], strides: [2, 2] }),
  transposed('in groups with a rest', {
    from: [2, 3],
    weight: [4, 2, 2, 3],
    size: [6, 6],
    strides: [3, 2],
    pads: [0, 1, 0, 1],
    groups: 2,
  }),
];
