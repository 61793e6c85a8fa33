import { mergeTensors, reAdapt } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, extra }) => {
  const models = [...(await extra('instruct')), ...(await extra('domain'))];
  const parameters = { scale: p.scale as number, energy: p.energy as number | undefined };
  return mergeTensors(reAdapt, { base, models, parameters });
});
