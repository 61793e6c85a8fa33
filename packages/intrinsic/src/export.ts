import { type Adapter, denseTerm, materialized, tensorRef } from '@peftjs/core';
import { subspace } from './kind.js';

/**
 * The adapter as dense changes: every update in a subspace becomes its numbers, made once. It has no seed any more, and
 * whoever reads it needs no kind of this package. Other updates stay as they are.
 * @throws PeftError ADAPTER_INVALID when a seed is missing or does not give the signs it was trained with
 */
export const materialize = (adapter: Adapter): Promise<Adapter> =>
  materialized(adapter, subspace.kind, async (term, shape) => denseTerm(tensorRef(await subspace.dense(term, shape))));
