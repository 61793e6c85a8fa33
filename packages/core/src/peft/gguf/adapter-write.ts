import type { Adapter, Term } from '../../delta/delta.js';
import { factored } from '../../delta/factored.js';
import { scaleOf } from '../../delta/kinds/common.js';
import { builtinKinds, type Kinds } from '../../delta/registry.js';
import { Problems } from '../../errors.js';
import { cast, scaled, toF32 } from '../../tensor/convert.js';
import { tensorRef } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { transposed } from '../../tensor/transpose.js';
import { ggufArchitecture, permutedHeads, toGgml } from './names.js';
import { type HeadCounts, permuteRows } from './permute.js';
import type { GgufValue } from './types.js';
import type { GgufContent } from './write.js';

export interface GgufAdapterOptions extends HeadCounts {
  /** `model_type` of the base. */
  readonly modelType: string;
  /** Default f32. */
  readonly dtype?: 'f32' | 'f16';
  /**
   * Whether scales are multiplied into B and alpha is 0, which llama.cpp reads as "already inside". Default: where no
   * single alpha says the scale of every module exactly (rsLoRA, patterns, weights).
   */
  readonly fold?: boolean;
  readonly kinds?: Kinds;
}

interface Module {
  readonly path: string;
  readonly ggml: string;
  readonly term: Term;
  readonly rank: number;
}

/**
 * An adapter as llama.cpp loads it: `blk.N.attn_q.weight.lora_a` [r, in] and `.lora_b` [out, r], modules by name. Scales
 * differ from module to module without a loss, unlike in llama.cpp's own converter.
 * @throws PeftError DELTA_CONFLICT listing what the format cannot hold; MODEL_UNSUPPORTED, ADAPTER_MISMATCH
 */
export async function ggufOfAdapter(adapter: Adapter, options: GgufAdapterOptions): Promise<GgufContent> {
  const { kinds = builtinKinds, dtype = 'f32' } = options;
  const architecture = ggufArchitecture(options.modelType);
  const modules = await gather(adapter, kinds);
  const alpha = options.fold === true ? 0 : commonAlpha(modules, options.fold === false);
  const tensors = new Map<string, TensorRef>();
  for (const { path, ggml, term } of modules) {
    const a = toF32(await term.tensors.a!.read());
    const stored = toF32(await term.tensors.b!.read());
    const b = alpha === 0 ? scaled(stored, Math.fround(scaleOf(term))) : stored;
    const heads = architecture.permuted ? permutedHeads(path) : undefined;
    const put = (suffix: string, tensor: Tensor) => tensors.set(`${ggml}.${suffix}`, tensorRef(cast(tensor, dtype)));
    put('lora_a', term.meta.embedding === true ? transposed(a) : a);
    put('lora_b', heads ? permuteRows(b, options[heads], 'ggml', path) : b);
  }
  const text = (value: string): GgufValue => ({ type: 'string', value });
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', text(architecture.name)],
    ['general.type', text('adapter')],
    ['adapter.type', text('lora')],
    ['adapter.lora.alpha', { type: 'f32', value: alpha }],
  ]);
  return { metadata, tensors };
}

/** One low-rank term a module that ggml has a name for. @throws PeftError DELTA_CONFLICT */
async function gather(adapter: Adapter, kinds: Kinds): Promise<Module[]> {
  const problems = new Problems();
  const modules: Module[] = [];
  for (const path of adapter.replaced.keys()) problems.add(`it replaces "${path}" in full.`);
  for (const [parameter, terms] of adapter.delta.params) {
    const path = parameter.replace(/\.weight$/, '');
    const ggml = path === parameter ? undefined : toGgml(path);
    if (!ggml) {
      problems.add(`"${parameter}" has no name in ggml.`);
      continue;
    }
    const term = await factored(terms, adapter.delta.shape.get(parameter)!, kinds);
    if (term) modules.push({ path, ggml, term, rank: term.tensors.a!.shape[0]! });
    else
      problems.add(
        `"${parameter}" has an update of kind ${terms.map(({ kind }) => kind).join(' and ')}, not two factors.`,
      );
  }
  if (adapter.delta.params.size === 0) problems.add('it changes no weight.');
  problems.throwIfAny('DELTA_CONFLICT', 'GGUF cannot hold this adapter');
  return modules.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * The alpha of which every module's scale is alpha / rank, to the bit of its float32; 0 where there is none.
 * @throws PeftError DELTA_CONFLICT when one is demanded
 */
function commonAlpha(modules: readonly Module[], demanded: boolean): number {
  const alphas = [...new Set(modules.map(({ term, rank }) => scaleOf(term) * rank))];
  const [alpha = 0] = alphas;
  if (alphas.length === 1 && Math.fround(alpha) === alpha) return alpha;
  const problems = new Problems();
  if (demanded) problems.add(`its modules would need the alphas ${alphas.join(', ')}; fold the scales into B.`);
  problems.throwIfAny('DELTA_CONFLICT', 'One float32 alpha cannot say the scales of this adapter');
  return 0;
}
