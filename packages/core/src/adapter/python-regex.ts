import { RE2JS } from 're2js';
import { PeftError } from '../errors.js';

/** A regular expression of PEFT's configurations: Python's syntax, matched in linear time. */
export interface PythonRegex {
  /** Python's `re.fullmatch`. */
  fullMatch(text: string): boolean;
  /** Python's `re.match`: anchored at the start only. The groups (0 is the whole match), or undefined. */
  match(text: string): (string | undefined)[] | undefined;
}

/**
 * Compiles the part of Python's `re` syntax that needs no backtracking.
 * @param subject what the expression is, for messages (`targetModules`)
 * @throws PeftError CONFIG_UNSUPPORTED naming the construct this engine does not have, CONFIG_INVALID for broken syntax
 */
export function pythonRegex(pattern: string, subject: string): PythonRegex {
  const translated = translate(pattern, subject);
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(translated);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PeftError(
      'CONFIG_INVALID',
      `${subject}: ${JSON.stringify(pattern)} is not a regular expression: ${reason}.`,
      {
        details: { pattern },
        cause,
      },
    );
  }
  return {
    fullMatch: (text) => compiled.matches(text),
    match(text) {
      const matcher = compiled.matcher(text);
      if (!matcher.lookingAt()) return undefined;
      return Array.from(
        { length: matcher.groupCount() + 1 },
        (_, i) => (matcher.group(i) as string | null) ?? undefined,
      );
    },
  };
}

/** What may follow `(?`, longest first: undefined passes, text names what is refused. */
const groups: readonly (readonly [RegExp, string | undefined])[] = [
  [/^\(\?:/, undefined],
  [/^\(\?P<\w+>/, undefined],
  [/^\(\?[ims]+(-[ims]+)?[:)]/, undefined],
  [/^\(\?-[ims]+:/, undefined],
  [/^\(\?P=/, 'a back-reference "(?P=name)"'],
  [/^\(\?<?[=!]/, 'lookaround'],
  [/^\(\?>/, 'an atomic group "(?>...)"'],
  [/^\(\?\(/, 'a conditional group "(?(1)...)"'],
  [/^\(\?#/, 'a comment "(?#...)"'],
  [/^\(\?[aiLmsux-]+[:)]/, 'the flags a, L, u or x'],
];

/** Letters after a backslash that mean the same in Python and in RE2, outside and inside a class. */
const sameEscapes = /[abBdDfnrsStvwWAx0]/;

/** Python's syntax as RE2's, refusing what RE2 reads otherwise or not at all. */
function translate(pattern: string, subject: string): string {
  const refuse = (what: string): never => {
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `${subject}: ${JSON.stringify(pattern)} uses ${what}, which cannot be matched in linear time or exists only in Python. Write it without, or list the module names.`,
      { details: { pattern, construct: what } },
    );
  };
  let out = '';
  let inClass = false;
  for (let i = 0; i < pattern.length; ) {
    const rest = pattern.slice(i);
    const c = pattern[i]!;
    let taken = c;
    let written = c;
    if (c === '\\') {
      taken = rest.slice(0, 2);
      written = taken;
      const letter = taken[1] ?? '';
      if (letter === 'Z' && !inClass) written = '\\z';
      else if (/[1-9]/.test(letter)) refuse(`a back-reference "${taken}"`);
      else if (inClass && letter === 'b') written = '\\x08';
      else if (/[a-zA-Z0-9]/.test(letter) && !sameEscapes.test(letter)) refuse(`the escape "${taken}"`);
    } else if (inClass) {
      if (c === ']') inClass = false;
      else if (rest.startsWith('[:')) written = '\\[';
    } else if (c === '[') {
      // A bracket that closes directly after the opening is a member in Python and in RE2 alike.
      taken = /^\[\^?\]?/.exec(rest)![0];
      written = taken;
      inClass = true;
    } else if (rest.startsWith('(?')) {
      const known = groups.find(([form]) => form.test(rest));
      if (known?.[1] !== undefined) refuse(known[1]);
      if (!known && /^\(\?[P<]/.test(rest)) refuse('a group form that Python does not have');
    } else {
      const quantifier = /^(?:[*+?]|\{\d*,?\d*\})/.exec(rest)?.[0];
      if (quantifier !== undefined && /^(?:[*+?]|\{\d+\}|\{\d*,\d*\})$/.test(quantifier)) {
        taken = quantifier;
        written = quantifier === '{,}' ? '*' : quantifier.replace('{,', '{0,');
        if (rest[taken.length] === '+') refuse(`a possessive quantifier "${taken}+"`);
      }
    }
    out += written;
    i += taken.length;
  }
  return out;
}
