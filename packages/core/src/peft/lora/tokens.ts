import type { Term } from '../../delta/delta.js';
import { readTensor } from '../../delta/kinds/common.js';
import { indexRef, numbersOf } from '../../delta/kinds/indices.js';
import { rowsTerm } from '../../delta/kinds/rows.js';
import type { Problems } from '../../errors.js';
import { toF32 } from '../../tensor/convert.js';
import { elementCount } from '../../tensor/dtype.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { weightShapes } from '../common/modules.js';
import type { LayoutInput } from '../layout.js';
import type { LoraFile } from './config.js';

/**
 * Rows of tables (`trainable_token_indices`): the terms by module. PEFT writes the rows in the order of its list.
 * @param tables the stored rows by module: [tokens, width]
 */
export async function readTokens(
  file: LoraFile,
  tables: ReadonlyMap<string, TensorRef>,
  input: LayoutInput,
  problems: Problems,
): Promise<Map<string, { readonly term: Term; readonly shape: readonly number[] }>> {
  const lists = listsOf(file, tables, problems);
  const shapes =
    lists.size > 0 ? await weightShapes(lists.keys(), input) : new Map<string, readonly [number, number]>();
  const made = new Map<string, { readonly term: Term; readonly shape: readonly number[] }>();
  for (const [module, list] of lists) {
    const ref = tables.get(module)!;
    const shape = shapes.get(module)!;
    if (ref.shape.length !== 2 || ref.shape[0] !== list.length || ref.shape[1] !== shape[1])
      problems.add(
        `"${module}" has rows [${ref.shape}] for ${list.length} tokens of a table [${shape}], needed are [${list.length},${shape[1]}].`,
      );
    else if (new Set(list).size < list.length)
      problems.add(`trainable_token_indices names a token of "${module}" twice.`);
    else made.set(module, { term: await sorted(list, ref, shape), shape });
  }
  return made;
}

/** The token lists by module: an entry of the configuration names a module by the end of its path. */
function listsOf(
  { trainable_token_indices: given }: LoraFile,
  tables: ReadonlyMap<string, unknown>,
  problems: Problems,
) {
  const lists = new Map<string, readonly number[]>();
  const entries = Array.isArray(given) ? [['', given] as const] : Object.entries(given ?? {});
  for (const [name, list] of entries) {
    // A list without a name belongs to the model's own embedding.
    const found = [...tables.keys()].filter((module) => name === '' || module === name || module.endsWith(`.${name}`));
    if (found.length === 1) lists.set(found[0]!, list);
    else
      problems.add(
        `trainable_token_indices ${name === '' ? 'is a list' : `names "${name}"`}, and it has ${found.length} tables of rows for it: one is needed.`,
      );
  }
  for (const module of tables.keys())
    if (!lists.has(module)) problems.add(`it has rows of "${module}", which trainable_token_indices does not name.`);
  return lists;
}

async function sorted(list: readonly number[], ref: TensorRef, shape: readonly number[]): Promise<Term> {
  const order = list.map((_, k) => k).sort((a, b) => list[a]! - list[b]!);
  const indices = indexRef(
    order.map((k) => list[k]!),
    shape[0]!,
  );
  if (order.every((k, i) => k === i)) return rowsTerm({ indices, values: ref });
  const { data } = toF32(await ref.read());
  const width = shape[1]!;
  const out = new Float32Array(elementCount(ref.shape));
  for (const [i, k] of order.entries()) out.set(data.subarray(k * width, (k + 1) * width), i * width);
  return rowsTerm({ indices, values: tensorRef(f32(ref.shape, out)) });
}

/** The tokens of a term, for the configuration. */
export const tokensOf = async (term: Term): Promise<readonly number[]> =>
  Array.from(numbersOf(await readTensor(term, 'indices')));
