import { knots, mergeAdapters } from '@peftjs/merge';
import { loraKind, resultsOf } from '../../lora-merging.js';

interface Parameters {
  readonly merge: 'tv' | 'ties';
  readonly merging_type: 'mean' | 'sum';
  readonly topK_percent?: number;
  readonly sigma_cutoff?: number;
  readonly dare_p?: number | null;
}

export const run = loraKind(async ({ record, inputs, keep }) => {
  const p = record.parameters as unknown as Parameters;
  const method = knots({
    merge: p.merge === 'tv' ? 'task-vectors' : 'ties',
    reduce: p.merging_type,
    density: (p.topK_percent ?? 100) / 100,
    drop: p.dare_p ?? 0,
    ...(p.sigma_cutoff !== undefined && { cutoff: p.sigma_cutoff }),
  });
  const { adapter } = await mergeAdapters(method, inputs, keep && { keep });
  return resultsOf(adapter);
});
