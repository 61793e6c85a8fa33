import { at, element } from './elements.js';
import type { Device, Lesson } from './messages.js';

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function card({ name, wants, rows, example }: Lesson, checked: boolean): HTMLLabelElement {
  const input = Object.assign(element('input'), {
    type: 'radio',
    name: 'lesson',
    value: name,
    defaultChecked: checked,
  });
  return element(
    'label',
    { className: 'lesson' },
    input,
    element('strong', { textContent: capital(wants) }),
    element('span', { className: 'text asked', textContent: example.prompt }),
    element('span', { className: 'text', textContent: example.completion.trim() }),
    element('span', { className: 'quiet', textContent: `${rows} rows to learn from` }),
  );
}

export function showLessons(lessons: readonly Lesson[]): void {
  at('lessons').append(...lessons.map((lesson, i) => card(lesson, i === 0)));
}

const deviceNames: Readonly<Record<Device, string>> = { wasm: 'WebAssembly', webgpu: 'WebGPU' };

export function showDevices(devices: readonly Device[]): void {
  const options = devices.map((device) =>
    Object.assign(element('option', { textContent: deviceNames[device] }), { value: device }),
  );
  at('device').append(...options);
}
