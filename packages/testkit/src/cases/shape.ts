import type { Case } from './case.js';

export const shapeCases: readonly Case[] = [
  {
    name: 'reshape to rows and back to heads',
    inputs: { x: { shape: ['batch', 'length', 6] } },
    build: (ops, { x }) => {
      const rows = ops.mul(ops.reshape(x!, ['batch*length', 6]), 2);
      return ops.transpose(ops.reshape(rows, ['batch', 'length', 2, 3]), [0, 2, 1, 3]);
    },
  },
  {
    name: 'unsqueeze and squeeze',
    inputs: { x: { shape: ['batch', 1, 4] }, w: { shape: ['batch', 4] } },
    build: (ops, { x, w }) => ops.mul(ops.squeeze(x!, [1]), ops.squeeze(ops.unsqueeze(w!, [0, -1]), [0, 3])),
  },
  {
    name: 'expand',
    inputs: { x: { shape: [1, 4] }, y: { shape: ['batch', 1, 4] } },
    build: (ops, { x, y }) => [ops.expand(x!, ['batch', 4]), ops.expand(y!, ['batch', 3, 4])],
  },
  {
    name: 'concat with a frozen part',
    inputs: { a: { shape: ['batch', 2] }, b: { shape: ['batch', 3], frozen: true }, c: { shape: ['batch', 'length'] } },
    build: (ops, { a, b, c }) => ops.concat([a!, b!, c!, a!], 1),
  },
  {
    name: 'slice of a fixed and of a symbolic axis',
    inputs: { x: { shape: ['batch', 6, 'length'] } },
    build: (ops, { x }) => [
      ops.slice(x!, 1, 2, 5),
      ops.slice(x!, 1, -2, 6),
      ops.slice(x!, 2, 1, 'length'),
      ops.slice(x!, 0, 0, 1),
    ],
  },
  {
    name: 'split, one part unused',
    inputs: { x: { shape: ['batch', 6] } },
    build: (ops, { x }) => {
      const [a, , c] = ops.split(x!, 1, [1, 2, 3]);
      return [ops.tanh(a!), ops.mul(c!, c!)];
    },
  },
  {
    name: 'fill, range and extents',
    inputs: { x: { shape: ['batch', 'length'] } },
    build: (ops, { x }) => {
      const positions = ops.cast(ops.range('length'), 'f32');
      const share = ops.div(ops.fill(['batch', 1], 1), ops.cast(ops.dim('batch*length'), 'f32'));
      return [ops.mul(ops.mul(x!, positions), share), ops.range('2*batch'), ops.dim('batch*length+3')];
    },
  },
];
