import type { Case } from './case.js';

export const indexingCases: readonly Case[] = [
  {
    name: 'gather rows, some more than once',
    inputs: { table: { shape: [5, 4] }, ids: { dtype: 'i64', shape: ['batch', 'length'], fill: { below: 5 } } },
    build: (ops, { table, ids }) => ops.gather(table!, ids!),
  },
  {
    name: 'gather along a middle axis',
    inputs: { x: { shape: ['batch', 5, 3] }, ids: { dtype: 'i64', shape: ['length'], fill: { below: 5 } } },
    build: (ops, { x, ids }) => ops.gather(x!, ids!, 1),
  },
  {
    name: 'gather from a symbolic axis',
    inputs: {
      x: { shape: ['batch*length', 3] },
      like: { shape: ['batch', 'length'] },
      ids: { dtype: 'i64', shape: [4], fill: { below: 6 } },
    },
    build: (ops, { x, like, ids }) => [ops.gather(x!, ids!), ops.neg(like!)],
  },
  {
    name: 'gather one scalar index',
    inputs: { x: { shape: [5, 'batch'] }, id: { dtype: 'i64', shape: [], fill: { below: 5 } } },
    build: (ops, { x, id }) => ops.gather(x!, id!),
  },
  {
    name: 'gather elements',
    inputs: { x: { shape: ['batch', 5] }, ids: { dtype: 'i64', shape: ['batch', 2], fill: { below: 5 } } },
    build: (ops, { x, ids }) => ops.gatherElements(x!, ids!, 1),
  },
  {
    name: 'scatter rows with addition',
    inputs: {
      x: { shape: [5, 3] },
      ids: { dtype: 'i64', shape: ['batch'], fill: { below: 5 } },
      updates: { shape: ['batch', 3] },
    },
    build: (ops, { x, ids, updates }) => ops.scatterAdd(x!, ids!, updates!),
  },
  {
    name: 'scatter elements with addition',
    inputs: {
      x: { shape: ['batch', 5] },
      ids: { dtype: 'i64', shape: ['batch', 2], fill: { below: 5 } },
      updates: { shape: ['batch', 2] },
    },
    build: (ops, { x, ids, updates }) => ops.scatterElementsAdd(x!, ids!, updates!, 1),
  },
];
