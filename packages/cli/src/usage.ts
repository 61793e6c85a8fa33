import type * as z from 'zod';

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** A failed check of options, each problem with the option's flag. */
export const usageOf = (error: z.ZodError, flagOf: (key: string) => string): UsageError =>
  new UsageError(
    error.issues.flatMap(({ path: [key, ...rest], message, code, ...issue }) => {
      if (code === 'unrecognized_keys')
        return (issue as { keys: string[] }).keys.map((k) => `unknown option ${flagOf(k)}`);
      const where = [flagOf(String(key)), ...rest.map(String)].join(' ');
      const missing = code === 'invalid_type' && rest.length === 0 && /undefined/.test(message);
      return [missing ? `${where} is missing` : `${where}: ${message}`];
    }),
  );
