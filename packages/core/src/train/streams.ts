import { expandAll } from '../adapter/attach-method.js';
import type { Plan } from '../adapter/bind.js';
import { sharedPath, tensorName } from '../adapter/names.js';
import { lettersOf, type Start } from '../adapter/start.js';
import type { Feeds } from '../backend/backend.js';
import type { Tensor } from '../tensor/tensor.js';
import { accumulatorName } from './step-graph.js';

/** Trained tensors that a graph sees as others made from them, before and after each step. */
export interface Streams {
  /** What the graph is fed, from the trained tensors. */
  expand(trained: Feeds): Feeds;
  /** Gradients of the trained tensors by `accumulatorName`, from those of what the graph was fed. */
  pullBack(trained: Feeds, slopes: Feeds): Feeds;
}

/** The streams of a plan; undefined for a method without. */
export function streamsOf(plan: Plan, start: Start): Streams | undefined {
  const { stream } = plan.method;
  if (!stream) return undefined;
  const now = (trained: Feeds): Start => ({ ...start, train: new Map(Object.entries(trained)) });
  return {
    expand: (trained) => Object.fromEntries(expandAll(plan, now(trained))),
    pullBack(trained, slopes) {
      const all = [...start.frozen, ...start.held, ...Object.entries(trained)];
      const gradients: Record<string, Tensor> = {};
      for (const { target, c } of plan.sites) {
        const d = lettersOf(
          target.path,
          Object.entries(slopes).map(([name, slope]) => [name.slice(0, -accumulatorName('').length), slope]),
        );
        for (const [letter, slope] of Object.entries(
          stream.pullBack({ target, c, p: lettersOf(target.path, all), d }),
        )) {
          const own = tensorName(target.path, letter);
          if (own in trained) gradients[accumulatorName(own)] = slope;
          else add(gradients, accumulatorName(tensorName(sharedPath, letter)), slope);
        }
      }
      return gradients;
    },
  };
}

/** Shared tensors gather what every target asks of them. */
function add(gradients: Record<string, Tensor>, name: string, slope: Tensor): void {
  const sum = gradients[name];
  if (!sum) gradients[name] = { ...slope, data: slope.data.slice() };
  else for (let i = 0; i < sum.data.length; i++) sum.data[i] = Number(sum.data[i]) + Number(slope.data[i]);
}
