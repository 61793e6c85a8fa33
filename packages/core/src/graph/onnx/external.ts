import { PeftError, Problems } from '../../errors.js';
import type { TensorProto } from './onnx_pb.gen.js';
import { tensorHeader } from './tensor.js';

/** Where the numbers of a tensor lie outside the model's file. */
export interface External {
  /** Relative to the model's folder, with forward slashes. */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

const keys = new Set(['location', 'offset', 'length', 'checksum', 'basepath']);

/**
 * The external entries of a tensor, checked without touching the file system: the location stays inside the folder by
 * its text, offset and length are whole numbers, the length is that of the shape.
 * @throws PeftError FILE_INVALID with everything that is wrong
 */
export function externalOf(proto: TensorProto): External {
  const problems = new Problems();
  const entries = new Map<string, string>();
  for (const { key, value } of proto.externalData) {
    if (entries.has(key)) problems.add(`external_data has the key "${key}" twice`);
    if (keys.has(key)) entries.set(key, value);
    else problems.add(`external_data has the unknown key "${key.slice(0, 40)}"`);
    if (problems.list.length >= 8) break;
  }
  const { bytes } = tensorHeader(proto);
  const location = entries.get('location') ?? '';
  const offset = whole(entries.get('offset') ?? '0');
  const length = whole(entries.get('length') ?? String(bytes));
  if (!staysInside(location))
    problems.add(`the location ${JSON.stringify(location)} is not a path inside the model's folder`);
  if (offset === undefined) problems.add(`the offset ${JSON.stringify(entries.get('offset'))} is not a whole number`);
  if (length !== bytes)
    problems.add(`the length ${JSON.stringify(entries.get('length'))} is not the ${bytes} bytes of its shape`);
  problems.throwIfAny('FILE_INVALID', `External tensor "${proto.name}"`);
  return { location, offset: offset!, length: length! };
}

const whole = (text: string): number | undefined =>
  /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;

/** A relative path of plain parts: no parent, no drive, no scheme, no backslash, no control character. */
const staysInside = (location: string): boolean =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  !/[\\:\u0000-\u001f]/.test(location) && location.split('/').every((part) => part !== '' && part !== '..');

/** @throws PeftError FILE_INVALID: a model whose weights lie beside it needs the folder it came from */
export const refuseExternal = (name: string, { location }: External): never => {
  throw new PeftError(
    'FILE_INVALID',
    `Tensor "${name}" lies outside the model, in "${location}". Read the model by its path, or give \`external\`.`,
  );
};
