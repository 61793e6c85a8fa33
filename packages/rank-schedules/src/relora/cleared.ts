import { f32, floats, type NamedTensors, type Params, type Target, type Tensor, tensorName } from '@peftjs/core';

/** Where the magnitude is above the quantile `part` of all magnitudes. */
function largest(tensor: Tensor, part: number): boolean[] {
  const magnitudes = floats(tensor).map(Math.abs);
  const sorted = magnitudes.slice().sort();
  const place = part * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  const threshold = low + (high - low) * (place - Math.floor(place));
  return Array.from(magnitudes, (x) => part === 0 || x > threshold);
}

/**
 * The moments of one factor with zeros but where all of them are among the largest.
 * NOTE: the authors' code looks at each moment alone. Where it keeps a first moment and clears the second, the quotient of
 * the two has no bound: the new A has no gradient as long as the new B is zero.
 */
export function cleared(moments: readonly Tensor[], part: number): Tensor[] {
  const kept = moments.map((moment) => largest(moment, part));
  return moments.map((moment) =>
    f32(
      moment.shape,
      floats(moment).map((x, i) => (kept.every((own) => own[i]) ? x : 0)),
    ),
  );
}

/** The moments of the factors after a restart (Lialin et al. 2023, section 3): only the largest stay. */
export function clearedState(
  sites: readonly { readonly target: Target; readonly p: Params<Tensor> }[],
  state: NamedTensors,
  part: number,
): NamedTensors {
  const changed = new Map<string, Tensor>();
  for (const { target, p } of sites)
    for (const letter of ['a', 'b']) {
      const own = `${tensorName(target.path, letter)}:`;
      const moments = [...state].filter(
        ([name, { shape }]) => name.startsWith(own) && `${shape}` === `${p[letter]!.shape}`,
      );
      const left = cleared(
        moments.map(([, moment]) => moment),
        part,
      );
      moments.forEach(([name], i) => {
        changed.set(name, left[i]!);
      });
    }
  return changed;
}
