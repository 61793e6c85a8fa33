import { type Adapter, f32, PeftError, type Target, type Tensor, type Term, toF32 } from '@peftjs/core';

/** The shared matrices of an adapter to train on, which may have been drawn elsewhere. Undefined where it has none. */
export async function savedProjections(
  adapter: Adapter,
  targets: readonly Target[],
): Promise<{ readonly A: Tensor; readonly B: Tensor } | undefined> {
  let found: { readonly path: string; readonly A: Tensor; readonly B: Tensor } | undefined;
  for (const { path } of targets) {
    const term = adapter.delta.params.get(`${path}.weight`)?.[0];
    if (term?.kind !== 'vera') continue;
    const [A, B] = [toF32(await term.tensors.A!.read()), toF32(await term.tensors.B!.read())];
    found ??= { path, A, B };
    if (same(A, found.A) && same(B, found.B)) continue;
    throw new PeftError(
      'ADAPTER_MISMATCH',
      `vera: "${path}" has other shared matrices than "${found.path}", and training on needs one pair: merge the adapter into its base and train a new one.`,
    );
  }
  return found && { A: found.A, B: found.B };
}

const same = (a: Tensor, b: Tensor): boolean =>
  a.data === b.data || (`${a.shape}` === `${b.shape}` && a.data.every((x, i) => x === b.data[i]));

/** b and d of a saved update. @throws PeftError CONFIG_UNSUPPORTED for an update of another kind */
export async function savedVectors(path: string, term: Term): Promise<{ readonly b: Tensor; readonly d: Tensor }> {
  if (term.kind !== 'vera')
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `"${path}" is an update of kind ${term.kind}: VeRA trains on from its own vectors only.`,
    );
  const [b, d] = [toF32(await term.tensors.b!.read()), toF32(await term.tensors.d!.read())];
  const scale = Number(term.meta.scale);
  return {
    b:
      scale === 1
        ? b
        : f32(
            b.shape,
            b.data.map((x) => x * scale),
          ),
    d,
  };
}
