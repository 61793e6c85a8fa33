import { f32, floats, type Params, type StepEnd, type Tensor, tensorName, zeros } from '@peftjs/core';
import type { SpielSettings } from './config.js';
import { opens } from './windows.js';

/** Letters of what is kept of a target while gradients of candidates are gathered. */
export const gathered = { candidates: 'candidates', sum: 'candidates.sum', squares: 'candidates.squares' } as const;
/** Letters of what is observed: the places of the largest gradients, and gradients there and at the candidates. */
export const seen = { top: 'top', topGradients: 'top.gradients', gradients: 'candidates.gradients' } as const;

export const vector = (data: Float32Array): Tensor => f32([data.length], data);

/** What is gathered before anything is. */
export const nothingGathered = (indices: Tensor): Params<Tensor> => ({
  [gathered.candidates]: indices,
  [gathered.sum]: zeros(indices.shape),
  [gathered.squares]: zeros(indices.shape),
});

/** What has been gathered of a target's candidates after this update. @param p what had been before */
export function gather(end: StepEnd<SpielSettings>, c: SpielSettings, path: string, p: Params<Tensor>): Params<Tensor> {
  const of = (letter: string) => end.observed.get(tensorName(path, letter))!;
  const isFirst = opens(end.clock, c);
  const g = floats(of(isFirst ? seen.topGradients : seen.gradients));
  const start = isFirst ? new Float32Array(g.length) : undefined;
  const [sum, squares] = [start ?? floats(p[gathered.sum]!), start ?? floats(p[gathered.squares]!)];
  return {
    [gathered.candidates]: isFirst ? of(seen.top) : p[gathered.candidates]!,
    [gathered.sum]: vector(sum.map((x, k) => x + g[k]!)),
    [gathered.squares]: vector(squares.map((x, k) => x + g[k]! ** 2)),
  };
}
