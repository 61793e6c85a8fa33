import { at, element } from './elements.js';
import type { Answer, NamedFile } from './messages.js';

/** One question with what was answered. */
function entry({ prompt, base, adapted, wanted }: Answer): HTMLLIElement {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['Base', base],
    ['With adapter', adapted],
    ['Wanted', adapted === wanted ? undefined : wanted],
  ];
  const list = rows.flatMap(([name, text]) => {
    if (text === undefined) return [];
    const right = name === 'With adapter' && text === wanted;
    const value = element('dd', { className: right ? 'text right' : 'text', textContent: text.trim() || '(nothing)' });
    return [element('dt', { textContent: name }), value];
  });
  return element('li', {}, element('p', { className: 'text', textContent: prompt }), element('dl', {}, ...list));
}

export function showAnswers(answers: readonly Answer[]): void {
  at('answers-empty').hidden = answers.length > 0;
  at('answers').replaceChildren(...answers.map(entry));
}

/** The visitor's own question comes first. */
export function addAnswer(answer: Answer): void {
  at('answers-empty').hidden = true;
  at('answers').prepend(entry(answer));
}

/** One link a file. The addresses of the files before are given back. */
export function showFiles(files: readonly NamedFile[]): void {
  const list = at('files');
  for (const { href } of list.querySelectorAll('a')) URL.revokeObjectURL(href);
  const links = files.map(({ name, bytes }) => {
    const size = bytes.length < 1024 ? `${bytes.length} bytes` : `${Math.round(bytes.length / 1024)} kB`;
    const link = element('a', { textContent: `${name} (${size})` });
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = name;
    return element('li', {}, link);
  });
  list.replaceChildren(...links);
  at('take').hidden = files.length === 0;
}
