import { PeftError, Problems } from '../../errors.js';
import { cloneGraph } from '../../graph/edit.js';
import type { Graph, Value } from '../../graph/graph.js';
import { readDim } from '../../graph/onnx/dims.js';
import { cast } from '../../tensor/convert.js';
import { alloc } from '../../tensor/dtype.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { matchModules, type TargetRules } from '../match.js';
import { addBranch, createEditor, settle } from './branch.js';
import { type SlotNames, slotNames } from './names.js';
import { findOnnxSites, type OnnxSite } from './sites.js';

export interface OnnxSlotOptions {
  /** Which modules get a slot, by PEFT's rules. Default: every linear layer. */
  readonly targets?: TargetRules;
  /** How the inputs are named. Default: as Olive names them, `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly names?: SlotNames;
}

/** The inputs of one module: A [in, r], B [r, out], the scale in B. Each module has a rank of its own; 0 is no adapter. */
export interface OnnxSlot {
  readonly module: string;
  readonly a: Value;
  readonly b: Value;
}

/**
 * An adapter-ready copy of a plain ONNX model: y + (x A) B at each module, with A and B as required inputs. (Inputs with
 * a default are silently ignored by ONNX Runtime for JavaScript.) Feed them with `slotFeeds`.
 * @throws PeftError TARGETS_UNMATCHED when nothing is selected; GRAPH_INVALID listing names that are taken
 */
export function addOnnxSlots(
  model: Graph,
  { targets, names = slotNames.olive }: OnnxSlotOptions = {},
): { readonly graph: Graph; readonly slots: readonly OnnxSlot[] } {
  const editor = createEditor(cloneGraph(model));
  const { graph } = editor;
  const chosen = select(model, targets);
  const problems = new Problems();
  const slots = new Map<string, OnnxSlot>();
  for (const site of chosen) {
    const { module } = site;
    const known = slots.get(module);
    const slot = known ?? makeSlot(site, names);
    if (known && (known.a.shape![0] !== site.in || known.b.shape![1] !== site.out || known.a.dtype !== site.y.dtype))
      problems.add(`"${module}" is called with weights of different shapes or types.`);
    for (const value of known ? [] : [slot.a, slot.b]) {
      if (graph.values.has(value.name)) problems.add(`the name "${value.name}" is taken; choose other names.`);
      graph.values.set(value.name, value);
      graph.inputs.push(value);
    }
    slots.set(module, slot);
    addBranch(editor, site, slot);
  }
  problems.throwIfAny('GRAPH_INVALID', 'The model cannot be given inputs for adapters');
  return { graph: settle(editor), slots: [...slots.values()] };
}

function makeSlot({ module, in: inside, out, y }: OnnxSite, names: SlotNames): OnnxSlot {
  const rank = readDim(`lora_r_${module.replace(/[^\w.]/g, '_')}`);
  return {
    module,
    a: { name: names.a(module), dtype: y.dtype, shape: [inside, rank] },
    b: { name: names.b(module), dtype: y.dtype, shape: [rank, out] },
  };
}

function select(model: Graph, targets: TargetRules | undefined): OnnxSite[] {
  const { sites, problems } = findOnnxSites(model);
  const linear = new Set(sites.filter(({ kind }) => kind === 'linear').map(({ module }) => module));
  const matched = targets
    ? matchModules([...new Set(sites.map(({ module }) => module))], targets, (path) => linear.has(path)).matched
    : [...linear];
  if (matched.length > 0) return sites.filter(({ module }) => matched.includes(module));
  const known = [...new Set(sites.map(({ module }) => module))];
  const others = problems.length > 0 ? ` Left out: ${problems.join(' ')}` : '';
  throw new PeftError(
    'TARGETS_UNMATCHED',
    `No module of this ONNX model is selected. It has: ${known.slice(0, 20).join(', ') || 'no linear layers'}.${others}`,
    { details: { modules: known, problems } },
  );
}

/**
 * What an adapter-ready model is fed: the given factors, and factors of rank 0, which change nothing, for the rest.
 * @throws PeftError ADAPTER_MISMATCH listing factors that no input takes: a runtime might ignore them silently
 */
export async function slotFeeds(
  slots: readonly OnnxSlot[],
  parameters: ReadonlyMap<string, TensorRef> = new Map(),
): Promise<Record<string, Tensor>> {
  const problems = new Problems();
  const inputs = new Map(slots.flatMap(({ a, b }) => [[a.name, a] as const, [b.name, b] as const]));
  for (const name of parameters.keys()) if (!inputs.has(name)) problems.add(`the model has no input "${name}".`);
  const feeds: Record<string, Tensor> = {};
  for (const [name, { dtype, shape }] of inputs) {
    const given = parameters.get(name);
    const own = shape!.map((extent) => (typeof extent === 'number' ? extent : 0));
    const fits = !given || (given.shape.length === 2 && own.every((n, i) => n === 0 || n === given.shape[i]));
    if (!fits) problems.add(`"${name}" is [${given.shape}], the input takes [${shape}].`);
    else feeds[name] = given ? cast(await given.read(), dtype) : alloc(dtype, own);
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter does not fit this ONNX model');
  return feeds;
}
