import { toF32 } from '@peftjs/core';
import { learnedSoup, linear, mergeTensors } from '@peftjs/merge';
import type { Tensors } from '../../case.js';
import { mergeKind } from '../../merging.js';

const numbersOf = (tensors: Tensors, name: string): Float32Array => toF32(tensors.get(name)!).data;

/** Loss 1000 Σ (β θ - target)² with its slopes for the shares and β. */
function slopes(models: readonly Tensors[], target: Tensors, names: readonly string[]) {
  return (alpha: readonly Float64Array[], beta: number) => {
    let loss = 0;
    let forBeta = 0;
    const forAlpha = names.map((name, t) => {
      const want = numbersOf(target, name);
      const each = models.map((model) => numbersOf(model, name));
      const slope = new Float64Array(models.length);
      want.forEach((wanted, j) => {
        const theta = each.reduce((sum, values, i) => sum + alpha[t]![i]! * values[j]!, 0);
        const difference = beta * theta - wanted;
        loss += 1000 * difference ** 2;
        forBeta += 2000 * difference * theta;
        each.forEach((values, i) => {
          slope[i] = slope[i]! + 2000 * difference * beta * values[j]!;
        });
      });
      return slope;
    });
    return { loss, alpha: forAlpha, beta: forBeta };
  };
}

export const run = mergeKind(async ({ p, models, extra }) => {
  const [target] = await extra('target');
  const names = p.tensor_order as string[];
  const { alpha } = await learnedSoup({
    tensors: names.length,
    models: models.length,
    evaluate: slopes(models, target!, names),
    steps: p.steps as number,
    lr: p.lr as number,
    beta: p.train_beta as boolean,
  });
  const merged = names.map((name, t) => {
    const only = models.map((model) => new Map([[name, model.get(name)!]]));
    return mergeTensors(linear, { models: only, weights: [...alpha[t]!] });
  });
  return new Map(merged.flatMap((part) => [...part]));
});
