import { Problems } from '@peftjs/core';
import { nonFinite } from '@peftjs/core/files';
import type { TensorRef } from '@peftjs/core/tensor';

/** A checkpoint, and how its names may differ. */
export interface ParameterNames {
  /** What the checkpoint has, by its own names. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** Module that names may have or leave out (`bert.`, `model.`). */
  readonly bodyPrefix: string;
  readonly aliases?: (path: string) => readonly string[];
}

/** What a checkpoint is asked for. */
export interface ParameterRequest extends ParameterNames {
  /** Shapes by parameter path. */
  readonly declared: ReadonlyMap<string, readonly number[]>;
  /** Alias -> source: one storage under two names. */
  readonly tied?: Readonly<Record<string, string>>;
  /** A new parameter where the checkpoint has none; undefined when it has to be there. */
  readonly create?: (path: string, shape: readonly number[]) => TensorRef | undefined;
}

/** Element types a base may have. */
const floats: ReadonlySet<string> = new Set(['f32', 'f16', 'bf16']);

/** Names under which a checkpoint may hold the parameter, the exact one first. */
function namesOf(path: string, { bodyPrefix, aliases }: ParameterNames): string[] {
  const bare = path.startsWith(bodyPrefix) ? path.slice(bodyPrefix.length) : `${bodyPrefix}${path}`;
  return [path, bare].flatMap((name) => [name, ...(aliases?.(name) ?? [])]);
}

/** The checkpoint's tensor of a parameter, under whichever of its names. */
export function findTensor(path: string, request: ParameterNames): { name: string; ref: TensorRef } | undefined {
  const name = namesOf(path, request).find((candidate) => request.tensors.has(candidate));
  return name === undefined ? undefined : { name, ref: request.tensors.get(name)! };
}

/**
 * Every declared parameter by its path. Tied ones share one reference.
 * @throws PeftError FILE_INVALID with all that are missing, of a wrong shape or of a type no base has
 */
export function resolveParameters(request: ParameterRequest, subject: string): Map<string, TensorRef> {
  const { declared, tied = {}, create } = request;
  const problems = new Problems();
  const resolved = new Map<string, TensorRef>();
  for (const [path, shape] of declared) {
    const source = tied[path] ?? path;
    const { name, ref: own } = findTensor(source, request) ?? {};
    const found = (source !== path ? resolved.get(source) : undefined) ?? own;
    const ref = found ?? create?.(path, shape);
    if (!ref) {
      problems.add(`"${path}" [${shape}] is missing`);
    } else if (ref.shape.length !== shape.length || ref.shape.some((extent, i) => extent !== shape[i])) {
      problems.add(`"${name ?? path}" has shape [${ref.shape}], the configuration makes it [${shape}]`);
    } else if (!floats.has(ref.dtype)) {
      problems.add(`"${name ?? path}" is ${ref.dtype}; a base is ${[...floats].join(', ')}`);
    } else {
      resolved.set(path, ref);
    }
  }
  problems.throwIfAny('FILE_INVALID', `The weights of ${subject} do not fit its configuration`);
  return resolved;
}

/** Reads every parameter once. @throws PeftError FILE_INVALID with all that hold a NaN or an infinity */
export async function assertFinite(parameters: ReadonlyMap<string, TensorRef>, subject: string): Promise<void> {
  const problems = new Problems();
  for (const { name, count, index } of await nonFinite(parameters))
    problems.add(`"${name}" has ${count} values that are not finite, the first at ${index}`);
  problems.throwIfAny('FILE_INVALID', `The weights of ${subject}`);
}
