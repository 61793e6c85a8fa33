import { f32, type NamedTensors, type Params, type Target, type Tensor, tensorName } from '@peftjs/core';

/** The numbers whose magnitude is above the quantile `part` of all magnitudes, and zero in place of the others. */
export function cleared({ shape, data }: Tensor, part: number): Tensor {
  const values = data as Float32Array;
  const magnitudes = values.map(Math.abs).sort();
  const place = part * (magnitudes.length - 1);
  const [low, high] = [magnitudes[Math.floor(place)]!, magnitudes[Math.ceil(place)]!];
  const threshold = low + (high - low) * (place - Math.floor(place));
  return f32(
    shape,
    values.map((x) => (Math.abs(x) > threshold ? x : 0)),
  );
}

/** The moments of the factors after a restart (Lialin et al. 2023, section 3): only the largest stay. */
export function clearedState(
  sites: readonly { readonly target: Target; readonly p: Params<Tensor> }[],
  state: NamedTensors,
  part: number,
): NamedTensors {
  const shapes = new Map(
    sites.flatMap(({ target, p }) =>
      ['a', 'b'].map((letter) => [tensorName(target.path, letter), `${p[letter]!.shape}`]),
    ),
  );
  const changed = [...state].filter(
    ([name, { shape }]) => shapes.get(name.slice(0, name.lastIndexOf(':'))) === `${shape}`,
  );
  return new Map(changed.map(([name, tensor]) => [name, cleared(tensor, part)]));
}
