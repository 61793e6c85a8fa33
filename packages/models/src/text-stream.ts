/** Turns ids that arrive one by one into text. */
export interface TextStream {
  /** The text that became certain with this id: '' while a character is incomplete. */
  push(id: number): string;
  /** What is left at the end. */
  end(): string;
}

/** Decoders write this where bytes are no character (yet). */
const incomplete = '\ufffd';

/** Ids of what stands before that are decoded along: enough for any character. */
const context = 8;

/**
 * Decodes a sliding window of ids. What precedes the window's new part is decoded along with it, because decoders treat
 * the first token of a text differently (a leading space is dropped); `after` are the ids that the stream continues.
 */
export function createTextStream(
  decode: (ids: readonly number[]) => string,
  after: readonly number[] = [],
): TextStream {
  let before: readonly number[] = after.slice(-context); // ids already written
  let waiting: number[] = [];

  function take(force: boolean): string {
    if (waiting.length === 0) return '';
    const known = decode(before);
    const text = decode([...before, ...waiting]);
    if (!force && (text.length <= known.length || text.endsWith(incomplete))) return '';
    before = waiting;
    waiting = [];
    return text.slice(known.length);
  }

  return {
    push(id) {
      waiting.push(id);
      return take(false);
    },
    end: () => take(true),
  };
}
