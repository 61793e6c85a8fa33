import { sparseSoup } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ models, ids, extra }) =>
  sparseSoup({ models, ids, masks: await extra('masks') }),
);
