import { type Branches, chain, mergeBranches, mergeTensors, slerp } from '@peftjs/merge';
import type { Tensors } from '../../case.js';
import { mergeKind } from '../../merging.js';

const pair = (names: readonly string[], leaf: (name: string) => Branches<Tensors>): Branches<Tensors> => ({
  left: leaf(names[0]!),
  right: leaf(names[1]!),
});

export const run = mergeKind(async ({ p, models, ids }) => {
  const leaf = (name: string): Branches<Tensors> => ({ leaf: models[ids.indexOf(name)]! });
  const tree = p.tree as [string[], string[]] | undefined;
  const branches = tree
    ? { left: pair(tree[0], leaf), right: pair(tree[1], leaf) }
    : chain(models as [Tensors, ...Tensors[]]);
  return mergeBranches(branches, (left, right) =>
    mergeTensors(slerp, { models: [left, right], parameters: { t: p.t as number } }),
  );
});
