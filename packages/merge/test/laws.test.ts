import { f32, type Tensor } from '@peftjs/core';
import { expectClose, expectPeftError } from '@peftjs/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MergeFunction } from '../src/define.js';
import { mergeTensors, type Tensors } from '../src/in-memory.js';
import * as methods from '../src/methods/index.js';

/** Options that a method cannot do without, and those under which it averages. */
const required: Record<string, object> = {
  slerp: { t: 0.3 },
  nearswap: { t: 0.01 },
  git_rebasin: {
    permutations: {
      hidden: [
        ['matrix', 0],
        ['vector', 0],
      ],
    },
  },
};
const averaging: Record<string, object> = {
  linear: {},
  uniform_soup: {},
  model_stock: {},
  task_arithmetic: { normalize: true },
  ties: { density: 1 },
  sce: {},
  slerp: { t: 0.3 },
  nuslerp: {},
  multislerp: {},
  karcher: {},
  ram: { epsilon: 0 },
  ema: { decay: 0.5 },
  breadcrumbs: { gamma: 0, normalize: true },
  della: { density: 1 },
  dare: { density: 1, normalize: true },
};

type AnyMerge = MergeFunction<never>;
const all = (Object.values(methods) as unknown as AnyMerge[]).map((method) => [method.merge.name, method] as const);

const shapes = { matrix: [4, 6], vector: [4], kernel: [2, 3, 5], scalar: [] } as const;
const size = 24 + 4 + 30 + 1;

/** A model of the shapes above from its numbers in a row. */
function modelOf(numbers: readonly number[]): Tensors {
  let at = 0;
  return new Map(
    Object.entries(shapes).map(([name, shape]): [string, Tensor] => {
      const count = shape.reduce((product: number, extent) => product * extent, 1);
      at += count;
      return [name, f32(shape, numbers.slice(at - count, at))];
    }),
  );
}

// Sixteenths: sums and differences are exact, and equal numbers occur.
const sixteenths = fc.integer({ min: -32, max: 32 }).map((n) => n / 16);
const model = fc.array(sixteenths, { minLength: size, maxLength: size }).map(modelOf);

function close(got: Tensors, expected: Tensors, absolute: number): void {
  expect([...got.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [name, tensor] of expected) expectClose(name, got.get(name)!, tensor, { absolute });
}

interface Scene {
  readonly base: Tensors;
  readonly models: readonly Tensors[];
}

/** Arguments that a method takes, cut from a scene of a base and three models. */
function inputs({ merge }: AnyMerge, { base, models }: Scene) {
  const count = Math.min(models.length, merge.name === 'slerp' ? 1 : (merge.models?.max ?? models.length));
  const ids = ['one', 'two', 'three'].slice(0, count);
  const options = required[merge.name] as never;
  return { ...(merge.base !== 'none' && { base }), models: models.slice(0, count), ids, parameters: options, seed: 7 };
}

const scene = fc.record({ base: model, models: fc.tuple(model, model, model) });

/** Opposite directions have no mean on a sphere and are refused: such scenes are left out. */
function mergedOrSkip(run: () => Tensors): Tensors {
  try {
    return run();
  } catch (error) {
    fc.pre(!(error instanceof Error && error.message.includes('cancel out')));
    throw error;
  }
}

describe.each(all)('%s', (name, method) => {
  it('does not depend on how tensors are cut', () => {
    fc.assert(
      fc.property(scene, fc.integer({ min: 1, max: 9 }), (given, chunk) => {
        const whole = mergedOrSkip(() => mergeTensors(method, inputs(method, given)));
        // Sums over a tensor are added in another order.
        close(mergeTensors(method, { ...inputs(method, given), chunk }), whole, 1e-5);
      }),
      { numRuns: 20 },
    );
  });

  if (!method.merge.ordered)
    it('does not depend on the order of the models', () => {
      fc.assert(
        fc.property(scene, (given) => {
          const straight = inputs(method, given);
          const turned = { ...straight, models: [...straight.models].reverse(), ids: [...straight.ids].reverse() };
          // Sums over models are added in another order.
          const expected = mergedOrSkip(() => mergeTensors(method, straight));
          close(mergeTensors(method, turned), expected, 1e-5);
        }),
        { numRuns: 20 },
      );
    });

  if (name in averaging)
    it('merges a model with itself into itself', () => {
      fc.assert(
        fc.property(model, model, (base, only) => {
          const { base: maybe, models, ids } = inputs(method, { base, models: [only, only, only] });
          const isAveragedWithBase = name === 'slerp' || name === 'ema';
          const from = isAveragedWithBase ? only : maybe;
          const parameters = averaging[name] as never;
          close(mergeTensors(method, { ...(from && { base: from }), models, ids, parameters }), only, 1e-5);
        }),
        { numRuns: 20 },
      );
    });

  if (method.merge.base === 'required')
    it('leaves the base as it is when no model differs from it', () => {
      fc.assert(
        fc.property(model, (base) => {
          close(mergeTensors(method, inputs(method, { base, models: [base, base, base] })), base, 0);
        }),
        { numRuns: 10 },
      );
    });

  it('does not change its inputs', () => {
    fc.assert(
      fc.property(scene, (given) => {
        const before = JSON.stringify([given.base, ...given.models].map((tensors) => [...tensors]));
        mergedOrSkip(() => mergeTensors(method, inputs(method, given)));
        expect(JSON.stringify([given.base, ...given.models].map((tensors) => [...tensors]))).toBe(before);
      }),
      { numRuns: 5 },
    );
  });

  it('refuses an option it does not have, naming those it has', async () => {
    await expectPeftError(
      () => method({ ...required[name], densty: 0.5 } as never),
      ['CONFIG_INVALID'],
      [name, 'densty'],
    );
  });
});
