import { PeftError } from '../../errors.js';

/** An architecture as llama.cpp's own converter lays it out. */
export interface GgufArchitecture {
  /** `general.architecture`. */
  readonly name: string;
  /** Whether the rows of query and key projections are interleaved: rotary pairs stand side by side there. */
  readonly permuted: boolean;
}

/** By Hugging Face's `model_type`. */
const architectures: Readonly<Record<string, GgufArchitecture>> = {
  llama: { name: 'llama', permuted: true },
  mistral: { name: 'llama', permuted: true },
  qwen2: { name: 'qwen2', permuted: false },
};

/** @throws PeftError MODEL_UNSUPPORTED naming those that are known */
export function ggufArchitecture(modelType: string): GgufArchitecture {
  const found = Object.hasOwn(architectures, modelType) ? architectures[modelType] : undefined;
  if (found) return found;
  const known = Object.keys(architectures);
  throw new PeftError(
    'MODEL_UNSUPPORTED',
    `Adapters of "${modelType}" models are not written as GGUF here (known: ${known.join(', ')}).`,
    { details: { modelType, known } },
  );
}

/** The architecture that a file names. @throws PeftError MODEL_UNSUPPORTED */
export const architectureNamed = (name: string): GgufArchitecture =>
  Object.values(architectures).find((architecture) => architecture.name === name) ?? ggufArchitecture(name);

/** Modules inside a layer: ours and ggml's name. */
const inLayer: readonly (readonly [module: string, ggml: string])[] = [
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
];

/** Modules outside of layers. */
const outside: readonly (readonly [module: string, ggml: string])[] = [
  ['model.embed_tokens', 'token_embd'],
  ['lm_head', 'output'],
];

/** ggml's name of a module's weight (`blk.0.attn_q.weight`); undefined when it has none. */
export function toGgml(module: string): string | undefined {
  const found = /^model\.layers\.(\d+)\.(.+)$/.exec(module);
  const [table, leaf, prefix] = found ? [inLayer, found[2]!, `blk.${found[1]}.`] : [outside, module, ''];
  const name = table.find(([own]) => own === leaf)?.[1];
  return name && `${prefix}${name}.weight`;
}

/** The module of ggml's name of a weight; undefined when it names none of those above. */
export function fromGgml(name: string): string | undefined {
  const found = /^(?:blk\.(\d+)\.)?(\w+)\.weight$/.exec(name);
  if (!found) return undefined;
  const [, layer, leaf] = found;
  const module = (layer === undefined ? outside : inLayer).find(([, ggml]) => ggml === leaf)?.[0];
  return module && (layer === undefined ? module : `model.layers.${Number(layer)}.${module}`);
}

/** Whose heads the rows of a module belong to, where these are interleaved. */
export const permutedHeads = (module: string): 'heads' | 'kvHeads' | undefined =>
  module.endsWith('.self_attn.q_proj') ? 'heads' : module.endsWith('.self_attn.k_proj') ? 'kvHeads' : undefined;
