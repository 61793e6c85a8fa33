import {
  type Adapter,
  PeftError,
  scaled,
  type Target,
  type Tensor,
  type TensorRef,
  type Term,
  toF32,
  vera,
} from '@peftjs/core';

/** The shared matrices of an adapter to train on, which may have been drawn elsewhere. Undefined where it has none. */
export async function savedProjections(
  adapter: Adapter,
  targets: readonly Target[],
): Promise<{ readonly A: Tensor; readonly B: Tensor } | undefined> {
  let found: { readonly path: string; readonly A: Shared; readonly B: Shared } | undefined;
  for (const { path } of targets) {
    const term = adapter.delta.params.get(`${path}.weight`)?.[0];
    if (term?.kind !== vera.kind) continue;
    const [a, b] = [term.tensors.A!, term.tensors.B!];
    found ??= { path, A: await held(a), B: await held(b) };
    if ((await same(a, found.A)) && (await same(b, found.B))) continue;
    throw new PeftError(
      'ADAPTER_MISMATCH',
      `vera: "${path}" has other shared matrices than "${found.path}", and training on needs one pair: merge the adapter into its base and train a new one.`,
    );
  }
  return found && { A: found.A.numbers, B: found.B.numbers };
}

/** A matrix that was read, with where it came from: most modules refer to the same one, which is read once. */
interface Shared {
  readonly ref: TensorRef;
  readonly numbers: Tensor;
}

const held = async (ref: TensorRef): Promise<Shared> => ({ ref, numbers: toF32(await ref.read()) });

async function same(ref: TensorRef, { ref: known, numbers }: Shared): Promise<boolean> {
  if (ref === known) return true;
  const { shape, data } = toF32(await ref.read());
  return `${shape}` === `${numbers.shape}` && data.every((x, i) => x === numbers.data[i]);
}

/** b and d of a saved update. */
export async function savedVectors(term: Term): Promise<{ readonly b: Tensor; readonly d: Tensor }> {
  return { b: scaled(await term.tensors.b!.read(), Number(term.meta.scale)), d: toF32(await term.tensors.d!.read()) };
}
