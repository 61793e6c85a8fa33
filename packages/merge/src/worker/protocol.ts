import {
  type DType,
  type ErrorCode,
  fromBytes,
  PeftError,
  rowRange,
  type Tensor,
  type TensorRef,
  type Term,
  tensorRef,
} from '@peftjs/core';
import type { Answers, Asked } from '../engine/measure.js';
import type { Finished, Operand, Outcome, Progress, Task } from '../engine/task.js';
import type { Files } from '../platform/files.js';

/** A reference as plain data: where its bytes lie, or the numbers themselves. */
type SentRef = { readonly dtype: DType; readonly shape: readonly number[] } & (
  | { readonly file: { readonly path: string; readonly offset: number; readonly bytes: number } }
  | { readonly data: Tensor['data'] }
);
interface SentOperand {
  readonly ref?: SentRef;
  readonly terms: readonly (Omit<Term, 'tensors'> & { readonly tensors: Readonly<Record<string, SentRef>> })[];
}
export type SentTask = Omit<Task, 'base' | 'models'> & {
  readonly base?: SentOperand;
  readonly models: readonly SentOperand[];
};

/** What a worker is asked; methods go by name. */
export type Request =
  | { readonly call: 'perform'; readonly merge: string; readonly task: SentTask; readonly progress: Progress }
  | {
      readonly call: 'measure';
      readonly merge: string;
      readonly task: SentTask;
      readonly progress: Progress;
      readonly asked: Asked;
      readonly origin: number;
    }
  | { readonly call: 'whole'; readonly merge: string; readonly tasks: readonly SentTask[] };

export type Result = Outcome | Answers | readonly Finished[];

export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Record<string, unknown>;
}
export type Reply = { readonly result: Result } | { readonly fault: Fault };

async function sendRef(ref: TensorRef): Promise<SentRef> {
  const { dtype, shape, file } = ref;
  return file ? { dtype, shape, file } : { dtype, shape, data: (await ref.read()).data };
}

async function sendOperand({ ref, terms }: Operand): Promise<SentOperand> {
  const sent = await Promise.all(
    terms.map(async ({ kind, meta, tensors }) => {
      const entries = Object.entries(tensors).map(async ([name, t]) => [name, await sendRef(t)] as const);
      return { kind, meta, tensors: Object.fromEntries(await Promise.all(entries)) };
    }),
  );
  return { ...(ref && { ref: await sendRef(ref) }), terms: sent };
}

export async function sendTask(task: Task): Promise<SentTask> {
  const { base, models, ...rest } = task;
  return {
    ...rest,
    ...(base && { base: await sendOperand(base) }),
    models: await Promise.all(models.map(sendOperand)),
  };
}

/** A reference to bytes of a file, read when asked for. */
function fileRef({ dtype, shape, file }: Extract<SentRef, { file: unknown }>, files: Files): TensorRef {
  return {
    dtype,
    shape,
    file,
    async read(range = {}) {
      const { shape: part, byteFrom, byteTo } = rowRange(dtype, shape, range);
      const bytes = new Uint8Array(byteTo - byteFrom);
      const open = files.open(file.path, 'read');
      try {
        open.read(bytes, file.offset + byteFrom);
      } finally {
        open.close();
      }
      return fromBytes(dtype, part, bytes);
    },
  };
}

const receiveRef = (ref: SentRef, files: Files): TensorRef =>
  'file' in ref ? fileRef(ref, files) : tensorRef({ dtype: ref.dtype, shape: ref.shape, data: ref.data });

const receiveOperand = ({ ref, terms }: SentOperand, files: Files): Operand => ({
  ...(ref && { ref: receiveRef(ref, files) }),
  terms: terms.map(({ tensors, ...term }) => ({
    ...term,
    tensors: Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, receiveRef(t, files)])),
  })),
});

export const receiveTask = ({ base, models, ...task }: SentTask, files: Files): Task => ({
  ...task,
  ...(base && { base: receiveOperand(base, files) }),
  models: models.map((operand) => receiveOperand(operand, files)),
});

/** Memory that moves to the other thread instead of being copied. */
export function memoryOf(result: Result): ArrayBuffer[] {
  const parts = (Array.isArray(result) ? result : [result]) as readonly { readonly data?: unknown }[];
  return parts.flatMap(({ data }) => (data instanceof ArrayBuffer ? [data] : []));
}

export const receiveFault = ({ code, message, details }: Fault): PeftError => new PeftError(code, message, { details });
