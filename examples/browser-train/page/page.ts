import { addAnswer, showAnswers, showFiles } from './answers.js';
import { lossChart } from './chart.js';
import { at } from './elements.js';
import { showDevices, showLessons } from './lessons.js';
import type { Device, Reply, Request } from './messages.js';

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const tell = (request: Request): void => worker.postMessage(request);
const chart = lossChart();
const value = (id: string) => at<HTMLInputElement>(id).value;
const count = new Intl.NumberFormat('en');

/** What the visitor can do now. */
function allow(state: 'nothing' | 'idle' | 'training' | 'asking'): void {
  const [from, to] = state === 'training' ? ['train', 'stop'] : ['stop', 'train'];
  const focused = document.activeElement === at(from);
  for (const id of ['train', 'send']) at<HTMLButtonElement>(id).disabled = state !== 'idle';
  at(from).hidden = true;
  at(to).hidden = false;
  if (focused) at(to).focus(); // or the keyboard would be nowhere
}

/** @param done the part of the training that is done; every step would be too much to read aloud */
function progress(text: string, done?: number): void {
  at('progress-text').ariaLive = done ? 'off' : 'polite';
  at('progress-text').textContent = text;
  if (done !== undefined) at<HTMLProgressElement>('progress').value = done;
}

function problem(message?: string): void {
  at('problem').hidden = message === undefined;
  at('problem').textContent = message ?? '';
}

let ready = false;
let steps = 0;
let losses: number[] = [];
let started = 0;

const summary = () =>
  `${steps} steps in ${((performance.now() - started) / 1000).toFixed(1)} s; the loss fell from ${losses[0]!.toFixed(3)} to ${losses.at(-1)!.toFixed(3)}.`;

/** What the page does with each message of the worker. */
const on: { readonly [T in Reply['type']]: (reply: Extract<Reply, { type: T }>) => void } = {
  ready({ lessons, parameters, devices, threads }) {
    const why = crossOriginIsolated ? '' : ' (more where the server isolates the page)';
    const used = `${threads} thread${threads > 1 ? 's' : ''}${why}`;
    at('facts').textContent = `The model is ready: ${count.format(parameters)} parameters, ${used}.`;
    showLessons(lessons);
    showDevices(devices);
    ready = true;
    allow('idle');
  },
  start({ trainable, steps: total }) {
    [steps, losses, started] = [total, [], performance.now()];
    progress(`Training ${count.format(trainable)} numbers.`, 0);
  },
  step({ step, loss }) {
    losses.push(loss);
    chart.add(step, loss);
    progress(`Step ${step} of ${steps}, loss ${loss.toFixed(3)}`, step / steps);
  },
  asking() {
    progress(`${summary()} Now asking …`);
  },
  done({ answers, files }) {
    progress(summary());
    showAnswers(answers);
    showFiles(files);
    allow('idle');
  },
  answer({ answer }) {
    addAnswer(answer);
    allow('idle');
    if (document.activeElement === document.body) at('prompt').focus(); // the button lost it while it was disabled
  },
  stopped() {
    progress(`Stopped after step ${losses.length}.`);
    allow('idle');
  },
  failed({ message }) {
    progress('It did not work.');
    problem(message);
    allow(ready ? 'idle' : 'nothing');
  },
};

chart.clear(Number(value('steps')));
worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => on[data.type](data as never));
worker.addEventListener('error', ({ message }) => problem(`The page's code could not be loaded: ${message}`));

at('settings').addEventListener('submit', (event) => {
  event.preventDefault();
  const lesson = new FormData(at<HTMLFormElement>('settings')).get('lesson');
  problem();
  chart.clear(Number(value('steps')));
  progress('Preparing …', 0);
  tell({
    type: 'train',
    settings: {
      lesson: String(lesson),
      steps: Number(value('steps')),
      rank: Number(value('rank')),
      device: value('device') as Device,
    },
  });
  allow('training');
});

at('stop').addEventListener('click', () => tell({ type: 'stop' }));

at('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  problem();
  allow('asking');
  tell({ type: 'ask', prompt: value('prompt') });
});
