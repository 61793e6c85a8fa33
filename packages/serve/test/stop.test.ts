import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStopper } from '../src/engine/stop.js';

function feed(stops: string[], pieces: string[]) {
  const stopper = createStopper(stops);
  let text = '';
  for (const piece of pieces) {
    const found = stopper.push(piece);
    text += found.text;
    if (found.stopped) return { text, stopped: true };
  }
  return { text: text + stopper.flush(), stopped: false };
}

describe('stop strings', () => {
  it('ends before the first, even when it comes in pieces', () => {
    expect(feed(['END'], ['one E', 'N', 'D two'])).toEqual({ text: 'one ', stopped: true });
  });

  it('lets go of what only looked like the beginning of one', () => {
    expect(feed(['END'], ['one E', 'N', 'O'])).toEqual({ text: 'one ENO', stopped: false });
  });

  it('finds what a search in the whole text finds, however the text is cut', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 20 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 6 }), stop, (pieces, wanted) => {
        const whole = pieces.join('');
        const at = whole.indexOf(wanted);
        expect(feed([wanted], pieces)).toEqual({ text: at < 0 ? whole : whole.slice(0, at), stopped: at >= 0 });
      }),
    );
  });
});
