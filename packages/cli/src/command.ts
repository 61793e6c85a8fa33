import type * as z from 'zod';
import type { Output } from './output.js';

/** What every command is given. */
export interface Context {
  readonly output: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Fields of the last event, `{"event":"result", ...}`. */
export type Result = Readonly<Record<string, unknown>>;

/**
 * A command as data: the schema of its options is also their help text and how a YAML file is read. Each field has
 * `.meta({ flags, description })`; flags in commander's notation, `--batch-size <n>`.
 */
export interface Command<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly summary: string;
  /** Positional arguments in commander's notation, with what they are. */
  readonly arguments?: readonly (readonly [name: string, description: string])[];
  readonly options: S;
  /** Lines under the help text. */
  readonly examples?: readonly string[];
  /** Returns the result, or nothing when it has said everything itself. */
  run(options: z.output<S>, context: Context, args: readonly string[]): Promise<Result | undefined>;
}

export const defineCommand = <S extends z.ZodObject>(command: Command<S>): Command => command as unknown as Command;
