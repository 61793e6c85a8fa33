import { isPeftError } from '@peftjs/core';
import { Command as Commander, CommanderError } from 'commander';
import type { Command } from './command.js';
import { commands } from './commands/index.js';
import { onInterrupt } from './interrupt.js';
import { addOptions, resolveOptions } from './options.js';
import { createOutput, type Streams } from './output.js';
import { UsageError } from './usage.js';
import { version } from './version.js';

export interface Io extends Streams {
  /** Leaves at once, without cleaning up: the second Ctrl-C. */
  exit(code: number): void;
}

const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/**
 * Runs one command line (without the program's own name).
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export async function main(argv: readonly string[], io: Io = process): Promise<number> {
  const json = argv.includes('--json');
  const interrupt = onInterrupt(() => io.exit(EXIT.interrupted));
  const output = createOutput(io, { json, quiet: argv.includes('--quiet') });
  try {
    await program(io, interrupt.signal).parseAsync(argv, { from: 'user' });
    return EXIT.done;
  } catch (error) {
    const code = interrupt.signal.aborted ? EXIT.interrupted : exitCode(error);
    if (code !== EXIT.done) report(error, code, output, io);
    return code;
  } finally {
    interrupt.dispose();
  }
}

function program(io: Io, signal: AbortSignal): Commander {
  const program = new Commander('peft')
    .description('Parameter-efficient fine-tuning: train, evaluate, compose and serve adapters.')
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: () => {},
    });
  for (const command of commands) program.addCommand(subcommand(command, io, signal).copyInheritedSettings(program));
  return program;
}

function subcommand(command: Command, io: Io, signal: AbortSignal): Commander {
  const sub = new Commander(command.name).description(command.summary);
  for (const [name, description] of command.arguments ?? []) sub.argument(name, description);
  addOptions(sub, command.options);
  if (command.examples)
    sub.addHelpText('after', `\nExamples:\n${command.examples.map((line) => `  $ ${line}`).join('\n')}`);
  return sub.action(async (...called: unknown[]) => {
    const options = await resolveOptions(command.options, sub.opts());
    const { json, quiet } = options as { json: boolean; quiet: boolean };
    const output = createOutput(io, { json, quiet });
    const args = called.slice(0, -2).filter((arg): arg is string => arg !== undefined);
    const result = await command.run(options, { output, signal }, args);
    if (result) output.event('result', result);
  });
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof UsageError) return EXIT.usage;
  if (isPeftError(error) && error.code === 'CONFIG_INVALID') return EXIT.usage;
  return EXIT.failed;
}

/** Says what went wrong: on standard error for people, as the last event under `--json`. */
function report(error: unknown, code: number, output: ReturnType<typeof createOutput>, io: Io): void {
  const { message } = error instanceof Error ? error : new Error(String(error));
  const known = isPeftError(error) ? { code: error.code as string, details: error.details } : undefined;
  const problems = error instanceof UsageError ? { problems: error.problems } : {};
  const fallback = {
    code: code === EXIT.usage ? 'USAGE' : code === EXIT.interrupted ? 'CANCELLED' : 'INTERNAL',
    details: problems,
  };
  output.event('error', { code: (known ?? fallback).code, message, details: (known ?? fallback).details });
  if (output.json || code === EXIT.interrupted) return;
  if (error instanceof CommanderError && error.code === 'commander.help') return; // the help text has been shown
  io.stderr.write(`${code === EXIT.usage ? message.replace(/^error: /, '') : `error: ${message}`}\n`);
  if (code === EXIT.usage) io.stderr.write('See --help.\n');
  else if (!known && error instanceof Error && error.stack) io.stderr.write(`${error.stack}\n`);
}
