import { Problems } from '../errors.js';
import type { Value } from '../graph/graph.js';
import { tensorProblem } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Feeds } from './backend.js';
import type { Selection } from './select.js';

/** @throws PeftError GRAPH_INVALID with everything that does not fit */
export function checkFeeds({ graph, feeds, carried, unused }: Selection, given: Feeds): void {
  const problems = new Problems();
  const extents = new Map<string, { size: number; from: string }>();
  for (const [name, value] of feeds) {
    const tensor = given[name];
    if (tensor) compare(value, tensor, extents, problems);
    else problems.add(`input "${name}" (${describe(value)}) is not fed`);
  }
  for (const name of Object.keys(given)) {
    if (feeds.has(name) || unused.has(name)) continue;
    if (carried.has(name)) problems.add(`"${name}" is carried by the program: use write`);
    else if (graph.weights.has(name) || graph.constants.has(name))
      problems.add(`"${name}" has a value in the graph, which this runtime cannot replace: promote it to an input`);
    else problems.add(`"${name}" is not an input; inputs are ${[...feeds.keys()].join(', ')}`);
  }
  problems.throwIfAny('GRAPH_INVALID', `The feeds do not fit graph "${graph.name}"`);
}

/** @throws PeftError GRAPH_INVALID */
export function checkState({ graph, carried }: Selection, name: string, tensor?: Tensor): void {
  const problems = new Problems();
  const value = carried.get(name);
  if (!value) problems.add(`"${name}" is not carried; carried are ${[...carried.keys()].join(', ') || 'none'}`);
  else if (tensor) compare(value, tensor, new Map(), problems);
  problems.throwIfAny('GRAPH_INVALID', `State of graph "${graph.name}"`);
}

const describe = ({ dtype, shape }: Value) => `${dtype} [${shape ?? '?'}]`;

/** Compares a tensor with what the graph declares; `extents` remembers what each symbol has been so far. */
function compare(
  value: Value,
  tensor: Tensor,
  extents: Map<string, { size: number; from: string }>,
  problems: Problems,
): void {
  const { name, shape } = value;
  const odd = tensorProblem(tensor);
  const fits = tensor.dtype === value.dtype && (!shape || shape.length === tensor.shape.length);
  if (odd) problems.add(`"${name}" ${odd}`);
  else if (!fits) problems.add(`"${name}" is ${tensor.dtype} [${tensor.shape}]; needed is ${describe(value)}`);
  else
    shape?.forEach((dim, axis) => {
      const size = tensor.shape[axis]!;
      const known = typeof dim === 'number' ? { size: dim, from: 'the graph' } : extents.get(dim);
      if (!known) extents.set(String(dim), { size, from: `"${name}"` });
      else if (known.size !== size)
        problems.add(
          `axis ${axis} of "${name}" is ${size}; ${typeof dim === 'number' ? '' : `${dim} is `}${known.size} by ${known.from}`,
        );
    });
}
