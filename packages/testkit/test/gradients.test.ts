import { rules } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../src/allclose.js';
import { bindings, buildCase, cases, differentiated, withGradients } from '../src/cases/index.js';
import { directionalDifference, finiteDifference } from '../src/finite-difference.js';
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
