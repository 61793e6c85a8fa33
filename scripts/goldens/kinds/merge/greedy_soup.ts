import { greedySoup, mergeTensors, uniformSoup } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';
import { compareScores, distance } from '../../soups.js';

export const run = mergeKind(async ({ record, p, models, extra }) => {
  const [target] = await extra('target');
  const soup = (ingredients: readonly number[]) =>
    mergeTensors(uniformSoup, { models: ingredients.map((i) => models[i]!) });
  const found = await greedySoup({
    candidates: (p.candidates as { id: string }[]).map(({ id }) => id),
    accept: p.accept as 'gt' | 'gte',
    tieOrder: String(p.tie_order).includes('later') ? 'later' : 'earlier',
    score: (ingredients) => -Math.sqrt(distance(soup(ingredients), target!)),
  });
  compareScores(found, record);
  return soup(found.ingredients);
});
