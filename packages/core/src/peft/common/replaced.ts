import { isSaved, modulePaths } from '../../adapter/patterns.js';
import type { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { LayoutInput } from '../layout.js';
import { automaticEmbeddings, automaticHeads } from '../names.js';
import type { SharedFile } from './config.js';

/** A parameter stored in full; `adapted` when its module carries an adapter too. */
export interface Parameter {
  readonly ref: TensorRef;
  readonly adapted: boolean;
}

/** Parameters in full, each with a reason to be there, and none missing. */
export function readReplaced(
  file: SharedFile & { readonly bias?: string | null | undefined },
  parameters: ReadonlyMap<string, Parameter>,
  modules: ReadonlyMap<string, unknown>,
  { base, warn, subject }: LayoutInput,
  problems: Problems,
): Map<string, TensorRef> {
  const saved = file.modules_to_save ?? [];
  const ownBiases = file.bias?.endsWith('_only') === true; // lora_only, vera_only
  const inSaved = (path: string, entries = saved) => modulePaths([path]).some((module) => isSaved(module, entries));
  const replaced = new Map<string, TensorRef>();
  for (const [path, { ref, adapted }] of parameters) {
    const dot = path.lastIndexOf('.');
    const [module, leaf] = [path.slice(0, dot), path.slice(dot + 1)];
    const isBias = path.includes('bias') && (file.bias === 'all' || (ownBiases && modules.has(module)));
    const isEmbedding =
      leaf === 'weight' && (automaticEmbeddings.includes(module.slice(module.lastIndexOf('.') + 1)) || adapted);
    const own = base.parameters?.get(path);
    if (adapted && !modules.has(module))
      problems.add(`"${path}" is stored as that of an adapted module, but "${module}" has no adapter.`);
    else if (!inSaved(path) && !isBias && !isEmbedding)
      problems.add(`it has the tensor "${path}", which neither modules_to_save nor bias accounts for.`);
    else if (base.parameters && !own && !inSaved(path))
      problems.add(`it replaces "${path}", which the base does not have.`);
    else if (isEmbedding && !inSaved(path))
      warn(`${subject} replaces "${path}" in full without listing it in modules_to_save.`);
    if (own && own.shape.join() !== ref.shape.join())
      problems.add(`it replaces "${path}" by [${ref.shape}], the base has [${own.shape}].`);
    replaced.set(path, ref);
  }
  const automatic = automaticHeads[file.task_type ?? ''] ?? [];
  const inBase = modulePaths(base.parameters?.keys() ?? []);
  for (const entry of new Set(saved)) {
    if ([...replaced.keys()].some((path) => inSaved(path, [entry]))) continue;
    if (!automatic.includes(entry) || inBase.some((module) => module.endsWith(entry)))
      problems.add(`its modules_to_save lists ${JSON.stringify(entry)}, but it has no tensors for it.`);
  }
  for (const path of base.parameters?.keys() ?? []) {
    if (replaced.has(path)) continue;
    const due =
      file.bias === 'all'
        ? path.includes('bias')
        : ownBiases && modules.has(path.slice(0, -'.bias'.length)) && path.endsWith('.bias');
    if (due || inSaved(path)) problems.add(`it should hold "${path}" in full, but does not.`);
  }
  return replaced;
}
