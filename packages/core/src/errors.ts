/**
 * Every failure a caller can act on is one class with a stable code. A message names the method, the tensor or the
 * field, the value, and what to do about it; `details` carries the same facts as data.
 */
export type ErrorCode =
  | 'ADAPTER_INVALID' // an adapter's files contradict themselves or each other
  | 'ADAPTER_MISMATCH' // an adapter made for another base
  | 'ADAPTER_UNKNOWN' // a name under which no adapter is registered
  | 'BACKEND_UNAVAILABLE' // a runtime or a device is missing or lost, or memory ran out; the message has the remedy
  | 'BACKEND_UNSUPPORTED' // this backend cannot run an operation or a dtype
  | 'CHECKPOINT_MISMATCH' // a checkpoint of another run: other options, data or base
  | 'CONFIG_INVALID' // a value or key given by a person is wrong
  | 'CONFIG_UNSUPPORTED' // a file asks for something this version does not do
  | 'DATA_INVALID' // rows of a data set cannot be used
  | 'DELTA_CONFLICT' // updates that cannot be added, or a layout that cannot hold them
  | 'FILE_INVALID' // the bytes of a file break its format
  | 'FILE_MISSING' // no such file, or it cannot be opened
  | 'FILE_UNWRITABLE' // a place that cannot be written: permission, space, a mount point
  | 'GRADIENT_UNDEFINED' // an operation without a rule lies on a gradient path
  | 'GRAPH_INVALID' // shapes or types of graph values do not fit
  | 'INPUT_TOO_LONG' // more tokens than the model or the server takes
  | 'INTERNAL' // a fault of this library
  | 'MODEL_UNSUPPORTED' // an architecture or a model feature this version does not build
  | 'PLUGIN_INCOMPATIBLE'
  | 'PORT_IN_USE'
  | 'SERVER_BUSY' // the queue is full: try again later
  | 'SERVER_CLOSED' // stopped or draining
  | 'TARGETS_UNMATCHED' // a target rule selected nothing
  | 'TRAINING_DIVERGED' // the loss is no longer a number
  | 'CANCELLED';

const marker = Symbol.for('peftjs.error');

export interface PeftErrorOptions {
  readonly details?: Record<string, unknown>;
  readonly cause?: unknown;
}

export class PeftError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: PeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PeftError';
    this.code = code;
    this.details = options.details ?? {};
    Object.defineProperty(this, marker, { value: true });
  }
}

/** Whether `error` is a PeftError of any copy of this package (two copies in one program are normal). */
export const isPeftError = (error: unknown): error is PeftError =>
  typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[marker] === true;

/** Collects everything wrong with an input, to be thrown at once. */
export class Problems {
  readonly list: string[] = [];

  add(problem: string): void {
    this.list.push(problem);
  }

  /** @throws PeftError with all problems in its message and in `details.problems`; nothing when there are none. */
  throwIfAny(code: ErrorCode, subject: string, details: Record<string, unknown> = {}): void {
    if (this.list.length === 0) return;
    const text = this.list.length === 1 ? ` ${this.list[0]}` : `\n- ${this.list.join('\n- ')}`;
    throw new PeftError(code, `${subject}:${text}`, { details: { ...details, problems: [...this.list] } });
  }
}
