import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Delta, denseTerm, f32, type Tensor, tensorRef, toF32 } from '@peftjs/core';
import { compare, type Tolerance } from '@peftjs/testkit';
import { type CaseFolder, type CaseRecord, readTensors, type Tensors } from './case.js';

/** A case of the compression of one matrix, or of a few. */
export interface CompressionRecord extends Omit<CaseRecord, 'tolerance'> {
  readonly id: string;
  readonly variant?: string;
  readonly expect?: 'refusal';
  readonly input?: string;
  readonly inputs?: Readonly<Record<string, string>>;
  readonly tolerance?: { readonly atol?: number; readonly rtol?: number };
}

export const recordOf = <R extends CompressionRecord>({ record }: CaseFolder): R => record as unknown as R;

/** The tensors of a file named as `in.safetensors: base`, relative to the case or to the folder of all cases. */
export async function readNamed({ root, path }: CaseFolder, text: string): Promise<Tensors> {
  const file = /^[^:;]+\.safetensors/.exec(text)![0];
  return readTensors(existsSync(join(path, file)) ? path : root, file);
}

export const expectedOf = ({ path }: CaseFolder): Promise<Tensors> => readTensors(path, 'expected.safetensors');

export const difference = (a: Tensor, b: Tensor): Tensor => {
  const start = toF32(b).data;
  return f32(
    a.shape,
    toF32(a).data.map((x, i) => x - start[i]!),
  );
};

export const sum = (a: Tensor, b: Tensor): Tensor => {
  const other = toF32(b).data;
  return f32(
    a.shape,
    toF32(a).data.map((x, i) => x + other[i]!),
  );
};

/** Matrices as the changes of parameters. */
export const deltaOf = (tensors: Tensors): Delta => ({
  shape: new Map([...tensors].map(([name, { shape }]) => [name, shape])),
  params: new Map([...tensors].map(([name, x]) => [name, [denseTerm(tensorRef(x))]])),
});

/** Gathers differences; a case fails with all of them. */
export function gather({ record }: CaseFolder) {
  const { tolerance = {} } = record as unknown as CompressionRecord;
  const own: Tolerance = { absolute: tolerance.atol ?? 0, relative: tolerance.rtol ?? 0 };
  const problems: string[] = [];
  return {
    problem: (text: string) => void problems.push(text),
    tensor(name: string, got: Tensor | undefined, expected: Tensor, limits = own) {
      if (!got) return void problems.push(`${name}: was not computed`);
      const { close, message } = compare(got, expected, limits);
      if (!close) problems.push(`${name}: ${message}`);
    },
    number(name: string, got: number, expected: number, relative: number) {
      if (!(Math.abs(got - expected) <= relative * Math.abs(expected)))
        problems.push(`${name}: got ${got}, expected ${expected}`);
    },
    done() {
      if (problems.length > 0) throw new Error(problems.join('\n'));
    },
  };
}
