import type { Feeds, Program, Tensor } from '@peftjs/core';
import { widened } from './numbers.js';

/** Third root of the double's unit: where truncation and rounding of a central difference are about equal. */
const relativeStep = Number.EPSILON ** (1 / 3);

export interface DifferenceOptions {
  /** The scalar output of the program. */
  readonly output: string;
  readonly feeds: Feeds;
}

async function at(
  program: Program,
  { output, feeds }: DifferenceOptions,
  name: string,
  tensor: Tensor,
): Promise<number> {
  const results = await program.run({ ...feeds, [name]: tensor });
  const value = results[output];
  if (value?.data.length !== 1) throw new Error(`"${output}" has shape [${value?.shape}]; a scalar is needed.`);
  return Number(value.data[0]);
}

/**
 * d output / d input by central differences, element by element, with a step of about 6e-6 of each value (at least of
 * 1). The program must compute in float64: one of `referenceBackend({ wide: true })`.
 *
 * @returns f64, the shape of the input
 */
export async function finiteDifference(program: Program, options: DifferenceOptions, input: string): Promise<Tensor> {
  const start = widened(options.feeds[input]!);
  const moved = Float64Array.from(start.data);
  const slope = new Float64Array(moved.length);
  for (let i = 0; i < moved.length; i++) {
    const value = moved[i]!;
    const [low, high] = neighbours(value);
    moved[i] = high;
    const above = await at(program, options, input, { ...start, data: moved });
    moved[i] = low;
    const below = await at(program, options, input, { ...start, data: moved });
    moved[i] = value;
    slope[i] = (above - below) / (high - low);
  }
  return { dtype: 'f64', shape: start.shape, data: slope };
}

/** The two points around a value, as they are representable: their distance is exact. */
function neighbours(value: number): [low: number, high: number] {
  const step = relativeStep * Math.max(1, Math.abs(value));
  return [value - step, value + step];
}

/**
 * The derivative of the output along a direction, all inputs moved together: the inner product of gradient and
 * direction, from two evaluations however many numbers there are. `directions` are by input, f64 or f32.
 */
export async function directionalDifference(
  program: Program,
  { output, feeds }: DifferenceOptions,
  directions: Readonly<Record<string, Tensor>>,
): Promise<number> {
  const along = (sign: number) => {
    const moved = Object.entries(directions).map(([name, direction]) => {
      const start = widened(feeds[name]!);
      const data = Float64Array.from(start.data, (v, i) => v + sign * relativeStep * Number(direction.data[i]));
      return [name, { ...start, data }] as const;
    });
    return program.run({ ...feeds, ...Object.fromEntries(moved) });
  };
  const [above, below] = [await along(1), await along(-1)];
  return (Number(above[output]!.data[0]) - Number(below[output]!.data[0])) / (2 * relativeStep);
}
