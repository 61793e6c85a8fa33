import { type Ops, rules, type ShapedValue } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../src/allclose.js';
import { bindings, buildCase, cases, differentiated, withGradients } from '../src/cases/index.js';
import { directionalDifference, finiteDifference } from '../src/finite-difference.js';
import { checkGradients } from '../src/gradients-check.js';
import { tensorOf } from '../src/numbers.js';
import { referenceBackend } from '../src/reference/backend.js';

const backend = referenceBackend({ wide: true });

describe('gradients against central differences in float64', () => {
  const trained = cases.filter((test) => buildCase(test).wrt.length > 0);

  it.each(trained.map((test) => [test.name, test] as const))('%s', async (_, test) => {
    const built = withGradients(buildCase(test));
    const program = await backend.compile(built.graph);
    for (const binding of bindings) {
      const feeds = built.feeds(binding);
      const results = await program.run(feeds);
      for (const { name } of built.wrt) {
        const expected = await finiteDifference(program, { output: 'loss', feeds }, name);
        // 1e-6: float32 constants of a graph are not the same number in a formula and in its derivative.
        expectClose(`${test.name}: gradient of ${name}`, results[`d ${name}`]!, expected, {
          relToMax: 1e-6,
          absolute: 1e-8,
        });
      }
    }
    await program.dispose();
  });

  it('every rule lies on the gradient path of some case', () => {
    const covered = new Set(cases.flatMap((test) => [...differentiated(buildCase(test))]));
    expect(Object.keys(rules).filter((rule) => !covered.has(rule))).toEqual([]);
  });

  it('the inner product with a direction agrees, all inputs moved at once', async () => {
    const test = cases.find(({ name }) => name === 'attention under a mask')!;
    const built = withGradients(buildCase(test));
    const program = await backend.compile(built.graph);
    const feeds = built.feeds(bindings[0]!);
    const results = await program.run(feeds);
    const directions = Object.fromEntries(
      built.wrt.map(({ name }) => [name, tensorOf('f64', feeds[name]!.shape, 'away', name)]),
    );
    const slope = await directionalDifference(program, { output: 'loss', feeds }, directions);
    let product = 0;
    for (const [name, { data }] of Object.entries(directions)) {
      data.forEach((v, i) => {
        product += Number(v) * Number(results[`d ${name}`]!.data[i]);
      });
    }
    expect(Math.abs(slope - product)).toBeLessThan(1e-7 * Math.abs(product));
  });
});

describe('checkGradients', () => {
  const x = tensorOf('f32', [2, 3], 'away', 'x');
  const w = tensorOf('f32', [3], 'away', 'w');

  it('compares every float input, and says how close they are', async () => {
    const loss = (ops: Ops, inputs: Readonly<Record<string, ShapedValue>>) =>
      ops.mean(ops.tanh(ops.mul(inputs.x!, inputs.w!)), [0, 1], { keepdims: false });
    const figures = await checkGradients(loss, { x: { tensor: x, shape: ['batch', 3] }, w });
    expect(Object.keys(figures)).toEqual(['x', 'w']);
    for (const { maxRel } of Object.values(figures)) expect(maxRel).toBeLessThan(1e-8);
  });

  it('names the input whose derivative is wrong', async () => {
    const wrong = (ops: Ops, inputs: Readonly<Record<string, ShapedValue>>) => {
      const square = ops.macro(ops.mul(inputs.w!, inputs.w!), [inputs.w!], (dy) => [ops.mul(dy, inputs.w!)]);
      return ops.sum(ops.add(inputs.x!, square), [0, 1], { keepdims: false });
    };
    await expect(checkGradients(wrong, { x, w })).rejects.toThrow(/gradient of "w": largest difference/);
  });
});
