import { Problems } from '../../errors.js';
import { isFloat } from '../../tensor/dtype.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { LayoutInput } from '../layout.js';
import { tensorPrefix } from '../names.js';
import type { Parameter } from './replaced.js';

/** A tensor that a layout keeps for a module. */
export interface PartSpec {
  /** Behind the module's path; some have no `.weight`. */
  readonly suffix: string;
  /** Whole numbers rather than floating point. */
  readonly index?: true;
}

export type Parts<Part extends string> = Readonly<Record<Part, PartSpec>>;

/** What a tensor of a folder is. */
export type FileKey<Part extends string> =
  | { readonly type: 'part'; readonly module: string; readonly part: Part }
  /** A parameter in full; `adapted` when it belongs to a module that carries an adapter too. */
  | { readonly type: 'parameter'; readonly path: string; readonly adapted: boolean }
  | { readonly type: 'unsupported'; readonly problem: string }
  | { readonly type: 'invalid'; readonly problem: string };

const modulePath = /^[\w-]+(\.[\w-]+)*$/;
const wrapper = '.base_layer';

export function readKey<Part extends string>(name: string, parts: Parts<Part>): FileKey<Part> {
  const shown = JSON.stringify(name);
  if (!name.startsWith(tensorPrefix))
    return {
      type: 'invalid',
      problem: `the tensor ${shown} does not start with "${tensorPrefix}", so it would change nothing. Rename the tensors.`,
    };
  const path = name.slice(tensorPrefix.length);
  if (!modulePath.test(path)) return { type: 'invalid', problem: `the tensor ${shown} names no module path.` };
  for (const [part, { suffix }] of Object.entries(parts) as [Part, PartSpec][]) {
    if (!path.endsWith(suffix)) continue;
    const module = path.slice(0, -suffix.length);
    return module.includes('base_layer')
      ? {
          type: 'unsupported',
          problem: `${shown} belongs to wrapped layers within each other (attention modules, expert parameters).`,
        }
      : { type: 'part', module, part };
  }
  const named = adapterName(path, parts);
  if (named !== undefined)
    return {
      type: 'invalid',
      problem: `the tensor ${shown} carries the adapter's name "${named}". Save the adapter with PEFT's save_pretrained, which leaves it out.`,
    };
  const dot = path.lastIndexOf('.');
  if (dot < 0) return { type: 'invalid', problem: `the tensor ${shown} is no parameter of a module.` };
  const module = path.slice(0, dot);
  return module.endsWith(wrapper)
    ? { type: 'parameter', path: module.slice(0, -wrapper.length) + path.slice(dot), adapted: true }
    : { type: 'parameter', path, adapted: false };
}

/** `NAME` of `module.lora_A.NAME.weight`: what PEFT has in memory and takes out of files. */
function adapterName(path: string, parts: Parts<string>): string | undefined {
  for (const { suffix } of Object.values(parts)) {
    const stem = suffix.replace(/\.(weight|bias)$/, '.');
    const at = path.lastIndexOf(stem.endsWith('.') ? stem : `${stem}.`);
    const found =
      at < 0 ? null : /^(\w+)(?:\.weight|\.bias)?$/.exec(path.slice(at + stem.replace(/\.$/, '').length + 1));
    if (found) return found[1];
  }
  return undefined;
}

export const partKey = (module: string, { suffix }: PartSpec): string => `${tensorPrefix}${module}${suffix}`;

export function parameterKey(path: string, adapted: boolean): string {
  const dot = path.lastIndexOf('.');
  return adapted ? `${tensorPrefix}${path.slice(0, dot)}${wrapper}${path.slice(dot)}` : `${tensorPrefix}${path}`;
}

/** The tensors of each module by part, and parameters in full. */
export interface SortedTensors<Part extends string> {
  readonly modules: Map<string, Partial<Record<Part, TensorRef>>>;
  readonly parameters: Map<string, Parameter>;
}

/**
 * Tensors by what their names say.
 * @param judge what is wrong with a part beside its type
 * @throws PeftError CONFIG_UNSUPPORTED, ADAPTER_INVALID
 */
export function sortTensors<Part extends string>(
  { tensors, subject }: LayoutInput,
  parts: Parts<Part>,
  judge: (
    part: Part,
    ref: TensorRef,
    name: string,
    problems: { unsupported: Problems; invalid: Problems },
  ) => void = () => {},
): SortedTensors<Part> {
  const problems = { unsupported: new Problems(), invalid: new Problems() };
  const { unsupported, invalid } = problems;
  const modules: SortedTensors<Part>['modules'] = new Map();
  const parameters = new Map<string, Parameter>();
  for (const [name, ref] of tensors) {
    const key = readKey(name, parts);
    if (key.type === 'unsupported') unsupported.add(key.problem);
    else if (key.type === 'invalid') invalid.add(key.problem);
    else if (key.type === 'part' && parts[key.part].index) {
      if (ref.dtype !== 'i32' && ref.dtype !== 'i64')
        invalid.add(`the tensor "${name}" is ${ref.dtype}, not i32 or i64.`);
      else put(modules, key, ref);
    } else if (!isFloat(ref.dtype)) invalid.add(`the tensor "${name}" is ${ref.dtype}, not floating point.`);
    else if (key.type === 'parameter') parameters.set(key.path, { ref, adapted: key.adapted });
    else {
      judge(key.part, ref, name, problems);
      put(modules, key, ref);
    }
  }
  unsupported.throwIfAny('CONFIG_UNSUPPORTED', subject);
  invalid.throwIfAny('ADAPTER_INVALID', subject);
  return { modules, parameters };
}

const put = <Part extends string>(
  modules: SortedTensors<Part>['modules'],
  { module, part }: { readonly module: string; readonly part: Part },
  ref: TensorRef,
): void => void modules.set(module, { ...modules.get(module), [part]: ref } as Partial<Record<Part, TensorRef>>);
