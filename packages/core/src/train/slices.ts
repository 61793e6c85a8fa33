import type { Feeds, Program } from '../backend/backend.js';
import { createGraph } from '../graph/graph.js';
import { createOps } from '../graph/ops.js';
import type { Optimizer } from '../optim/optimizer.js';
import { floats } from '../tensor/convert.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Group, scalarName, scalarTensor } from './groups.js';
import { accumulatorName, type StepOptions, type TrainingGraph } from './step-graph.js';
import { copyTensor } from './stepper.js';
import { nextName, stateName } from './update.js';
import type { UpdaterPlan } from './updater.js';

/** Elements of one slice: few enough for the caches, so many that the cost of a run does not show. */
const defaultLength = 2 ** 18;
const clipName = 'clip';

const lettersOf = (optimizer: Optimizer): string[] => Object.keys(optimizer.init([1]));

const scalarsOf = ({ optimizer, lr, decay }: Group): string[] =>
  Object.keys(optimizer.scalars({ step: 1, rate: lr, decay }));

/** The optimizer over flat slices of any length n. */
function sliceGraph(optimizer: Optimizer, scalars: readonly string[]) {
  const graph = createGraph('slice');
  const ops = createOps(graph);
  const input = (name: string) => ops.input(name, 'f32', ['n']);
  const letters = lettersOf(optimizer);
  const next = optimizer.update(
    {
      p: input('p'),
      g: ops.mul(input('g'), ops.input(clipName, 'f32', [])),
      state: Object.fromEntries(letters.map((letter) => [letter, input(stateName('p', letter))])),
      scalars: Object.fromEntries(scalars.map((name) => [name, ops.input(scalarName(0, name), 'f32', [])])),
    },
    ops,
  );
  ops.output(next.p, nextName('p'));
  for (const letter of letters) ops.output(next.state[letter]!, nextName(stateName('p', letter)));
  return graph;
}

/** Runs the program over all slices of `arrays` (by input name), which it overwrites with their next values. */
async function runSlices(
  program: Program,
  g: Float32Array,
  arrays: Readonly<Record<string, Float32Array>>,
  scalars: Feeds,
  length: number,
): Promise<void> {
  for (let from = 0; from < g.length; from += length) {
    const to = Math.min(from + length, g.length);
    const cut = (data: Float32Array): Tensor => ({ dtype: 'f32', shape: [to - from], data: data.subarray(from, to) });
    const feeds: Record<string, Tensor> = { ...scalars, g: cut(g) };
    for (const [name, array] of Object.entries(arrays)) feeds[name] = cut(array);
    const outputs = await program.run(feeds);
    for (const [name, array] of Object.entries(arrays)) array.set(floats(outputs[nextName(name)]!), from);
  }
}

/** √(Σ g²) over all tensors, in double precision. */
function normOf(gradients: readonly Tensor[]): number {
  let sum = 0;
  for (const tensor of gradients) for (const g of floats(tensor)) sum += g * g;
  return Math.sqrt(sum);
}

/**
 * Parameters and state in this process's memory, updated in place slice by slice: where a program over all of them
 * holds everything twice, this holds one slice more. For element-wise optimizers.
 */
export function slicedUpdater(
  { trainables }: TrainingGraph,
  options: StepOptions,
  length = defaultLength,
): UpdaterPlan {
  const { groups, groupOf, maxGradNorm } = options;
  const names = trainables.map(({ name }) => name);
  const state = new Map<string, Tensor>();
  for (const [i, { name, shape }] of trainables.entries())
    for (const [letter, tensor] of Object.entries(groups[groupOf[i]!]!.optimizer.init(shape)))
      state.set(stateName(name, letter), tensor);

  return {
    state,
    async compile(backend, signal) {
      const programs: Program[] = []; // by group; groups that differ in their rate alone share one
      for (const [i, group] of groups.entries()) {
        const scalars = scalarsOf(group);
        const same = groups.findIndex((g) => g.optimizer === group.optimizer && `${scalarsOf(g)}` === `${scalars}`);
        const options = { purpose: 'train', ...(signal && { signal }) } as const;
        programs[i] = programs[same] ?? (await backend.compile(sliceGraph(group.optimizer, scalars), options));
      }
      const tensors = new Map<string, Tensor>();

      return {
        async apply(feeds, { step, factor }) {
          const gradients = names.map((name) => feeds[accumulatorName(name)]!);
          const gradNorm = maxGradNorm === undefined ? undefined : normOf(gradients);
          const clip = gradNorm === undefined ? 1 : Math.min(1, maxGradNorm! / (gradNorm + 1e-6));
          for (const [i, name] of names.entries()) {
            const { optimizer, lr, decay } = groups[groupOf[i]!]!;
            const numbers = optimizer.scalars({ step, rate: lr * factor, decay });
            const scalars: Record<string, Tensor> = { [clipName]: scalarTensor(clip) };
            for (const [key, number] of Object.entries(numbers)) scalars[scalarName(0, key)] = scalarTensor(number);
            const arrays: Record<string, Float32Array> = { p: floats(tensors.get(name)!) };
            for (const letter of lettersOf(optimizer))
              arrays[stateName('p', letter)] = floats(tensors.get(stateName(name, letter))!);
            await runSlices(programs[groupOf[i]!]!, floats(gradients[i]!), arrays, scalars, length);
          }
          return gradNorm === undefined ? {} : { gradNorm };
        },
        parameters: async () => Object.fromEntries(names.map((name) => [name, tensors.get(name)!])),
        read: async (wanted) => new Map([...wanted].map((name) => [name, copyTensor(tensors.get(name)!)])),
        async write(given) {
          for (const [name, tensor] of given) tensors.set(name, copyTensor(tensor));
        },
        async dispose() {
          for (const program of new Set(programs)) await program.dispose();
        },
      };
    },
  };
}
