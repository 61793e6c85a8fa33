import { type Adapter, PeftError, type Tensor, type Term } from '@peftjs/core';
import { compacterKind } from './kind.js';

/** @throws PeftError ADAPTER_MISMATCH for an adapter whose bottlenecks do not share one set of matrices */
export async function requireOneShared({ delta }: Adapter, paths: readonly string[]): Promise<void> {
  let first: { readonly path: string; readonly a: Tensor } | undefined;
  for (const path of paths) {
    const term = delta.params.get(`${path}.weight`)?.[0];
    if (term?.kind !== compacterKind.kind) continue;
    const a = await term.tensors.a!.read();
    first ??= { path, a };
    if (`${a.shape}` === `${first.a.shape}` && a.data.every((x, i) => x === first!.a.data[i])) continue;
    throw new PeftError(
      'ADAPTER_MISMATCH',
      `compacter: "${path}" has other shared matrices than "${first.path}", and training on needs one set: train a new adapter on top of it.`,
    );
  }
}

/** @throws PeftError ADAPTER_MISMATCH for a bottleneck that computes something else */
export function requireActivation(path: string, { meta }: Term, activation: string): void {
  if (meta.activation === activation) return;
  throw new PeftError(
    'ADAPTER_MISMATCH',
    `compacter: the bottleneck behind "${path}" has the activation ${meta.activation}, this configuration ${activation}: set activation as it was trained.`,
  );
}
