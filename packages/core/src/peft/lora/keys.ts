import { tensorPrefix } from '../names.js';

/** What a tensor of a LORA folder is. */
export type LoraKey =
  | { readonly type: 'factor'; readonly module: string; readonly part: FactorPart }
  /** A parameter in full; `adapted` when it belongs to a module that carries an adapter too. */
  | { readonly type: 'parameter'; readonly path: string; readonly adapted: boolean }
  | { readonly type: 'unsupported'; readonly problem: string }
  | { readonly type: 'invalid'; readonly problem: string };

export type FactorPart = 'a' | 'b' | 'bias' | 'embeddingA' | 'embeddingB' | 'magnitude';

/** Suffix of each part; embeddings and magnitudes have no `.weight`. */
export const suffixes: Readonly<Record<FactorPart, string>> = {
  a: '.lora_A.weight',
  b: '.lora_B.weight',
  bias: '.lora_B.bias',
  embeddingA: '.lora_embedding_A',
  embeddingB: '.lora_embedding_B',
  magnitude: '.lora_magnitude_vector',
};

const modulePath = /^[\w-]+(\.[\w-]+)*$/;
const wrapper = '.base_layer';

export function readKey(name: string): LoraKey {
  const shown = JSON.stringify(name);
  if (!name.startsWith(tensorPrefix))
    return {
      type: 'invalid',
      problem: `the tensor ${shown} does not start with "${tensorPrefix}", so it would change nothing. Rename the tensors.`,
    };
  const path = name.slice(tensorPrefix.length);
  if (!modulePath.test(path)) return { type: 'invalid', problem: `the tensor ${shown} names no module path.` };
  for (const [part, suffix] of Object.entries(suffixes) as [FactorPart, string][]) {
    if (!path.endsWith(suffix)) continue;
    const module = path.slice(0, -suffix.length);
    return module.includes('base_layer')
      ? {
          type: 'unsupported',
          problem: `${shown} belongs to wrapped layers within each other (attention modules, expert parameters).`,
        }
      : { type: 'factor', module, part };
  }
  if (path.includes('.token_adapter.'))
    return { type: 'unsupported', problem: `${shown} holds single rows of an embedding (trainable_token_indices).` };
  const named = /\.lora_(?:[AB]|embedding_[AB]|magnitude_vector)\.(\w+)(?:\.weight|\.bias)?$/.exec(path);
  if (named)
    return {
      type: 'invalid',
      problem: `the tensor ${shown} carries the adapter's name "${named[1]}". Save the adapter with PEFT's save_pretrained, which leaves it out.`,
    };
  const dot = path.lastIndexOf('.');
  if (dot < 0) return { type: 'invalid', problem: `the tensor ${shown} is no parameter of a module.` };
  const module = path.slice(0, dot);
  return module.endsWith(wrapper)
    ? { type: 'parameter', path: module.slice(0, -wrapper.length) + path.slice(dot), adapted: true }
    : { type: 'parameter', path, adapted: false };
}

export const factorKey = (module: string, part: FactorPart): string => `${tensorPrefix}${module}${suffixes[part]}`;

export function parameterKey(path: string, adapted: boolean): string {
  const dot = path.lastIndexOf('.');
  return adapted ? `${tensorPrefix}${path.slice(0, dot)}${wrapper}${path.slice(dot)}` : `${tensorPrefix}${path}`;
}
