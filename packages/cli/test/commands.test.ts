import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors } from '@peftjs/core/files';
import { goldensPath, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { peft, start } from './run.js';

const stories = sharedPath('models', 'stories260k');
const goldens = goldensPath('methods');
const out = (name: string) => join(mkdtempSync(join(tmpdir(), 'peft-')), name);

/** A small data set of prompts and completions. */
function dataFile(): string {
  const path = out('rows.csv');
  const rows = Array.from({ length: 24 }, (_, i) => `"The ${i % 2 ? 'cat' : 'dog'} said",woof ${i % 3}`);
  writeFileSync(path, ['mr,ref', ...rows].join('\n'));
  return path;
}

const training = (data: string, output: string, ...more: string[]) => [
  'train',
  ...['--model', stories!, '--task', 'causal-lm', '--data', data, '--columns', 'prompt=mr,completion=ref'],
  ...['--method', 'lora', '--set', 'r=4', 'lora_alpha=8', '--target-modules', 'q_proj,v_proj'],
  ...['--lr', '5e-3', '--batch-size', '4', '--output', output, '--json', '--threads', '1', ...more],
];

describe.skipIf(!stories || !goldens)('commands over stories260k', () => {
  it('trains on top of another adapter: evaluated together they go on where the first one stood', async () => {
    const [data, first, second] = [dataFile(), out('first'), out('second')];
    await peft(...training(data, first, '--steps', '6'));
    const one = await peft(...training(data, second, '--steps', '1', '--lr', '1e-9', '--on', first));
    const alone = await peft(...training(data, out('alone'), '--steps', '1', '--lr', '1e-9'));
    const lossOf = ({ events }: typeof one) => events.at(-1)!.loss as number;
    expect(one.code).toBe(0);
    expect(lossOf(one)).toBeLessThan(lossOf(alone));
  });

  it('runs an adapter with a head, trained on top of another with one, as it merges them', async () => {
    const [data, first, second, merged] = [dataFile(), out('first'), out('second'), out('merged')];
    const headed = ['--set', 'r=4', 'modules_to_save=[lm_head]'];
    await peft(...training(data, first, '--steps', '3', ...headed));
    expect((await peft(...training(data, second, '--steps', '3', '--on', first, ...headed))).code).toBe(0);
    const merge = ['--base', stories!, '--models', first, second, '--output', merged];
    expect((await peft('merge', '--method', 'attach', ...merge)).code).toBe(0);
    const lossOf = async (...model: string[]) => {
      const rows = ['--task', 'causal-lm', '--data', data, '--columns', 'prompt=mr,completion=ref', '--json'];
      const { events } = await peft('eval', ...rows, '--threads', '1', '--model', ...model);
      return (events.at(-1)!.metrics as { loss: number }).loss;
    };
    const [together, whole] = [await lossOf(stories!, '--adapter', first, second), await lossOf(merged)];
    expect(together).toBeCloseTo(whole, 4);
    expect(together).toBeLessThan(await lossOf(stories!, '--adapter', first));
  });

  it('trains an adapter on: a run begins where the first one stood', async () => {
    const [data, first] = [dataFile(), out('first')];
    await peft(...training(data, first, '--steps', '6'));
    const { code, events } = await peft(...training(data, out('on'), '--steps', '1', '--lr', '1e-9', '--start', first));
    const fresh = await peft(...training(data, out('fresh'), '--steps', '1', '--lr', '1e-9'));
    expect(code).toBe(0);
    expect(events.at(-1)!.loss).toBeLessThan(fresh.events.at(-1)!.loss as number);
  });

  it('train, inspect, eval, merge and generate agree with each other', async () => {
    const [data, adapter, merged] = [dataFile(), out('adapter'), out('merged')];
    const trained = await peft(...training(data, adapter, '--eval-data', data, '--epochs', '1'));
    expect(trained.code).toBe(0);
    const steps = trained.events.filter(({ event }) => event === 'step');
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(trained.events[0]).toMatchObject({ event: 'start', trainable: 4480, trainable_adapter: 4480 });
    const result = trained.events.at(-1)!;
    expect(result).toMatchObject({
      event: 'result',
      steps: 6,
      output: adapter,
      digest: expect.stringMatching(/^sha256:/),
    });
    expect(Object.keys(result)).toEqual(
      expect.arrayContaining(['loss', 'metrics', 'trainable', 'trainable_adapter', 'seconds', 'peak_bytes']),
    );
    expect(readdirSync(adapter).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors', 'peftjs.json']);

    const inspected = await peft('inspect', adapter, '--json');
    expect(inspected.events).toEqual([
      expect.objectContaining({ kind: 'adapter', method: 'lora', ranks: [4], digest: result.digest, problems: [] }),
    ]);

    const evaluate = async (...model: string[]) => {
      const { code, events } = await peft(
        'eval',
        ...model,
        '--task',
        'causal-lm',
        '--data',
        data,
        '--columns',
        'prompt=mr,completion=ref',
        '--json',
      );
      expect(code).toBe(0);
      expect(events.at(-1)).toMatchObject({ event: 'result', rows: 24, metrics: { loss: expect.any(Number) } });
      return (events.at(-1)!.metrics as { loss: number }).loss;
    };
    const loss = (result.metrics as { loss: number }).loss;
    expect(await evaluate('--model', stories!, '--adapter', adapter)).toBeCloseTo(loss, 5);
    expect(await evaluate('--model', stories!)).toBeGreaterThan(loss + 0.1);

    const attach = await peft(
      'merge',
      '--method',
      'attach',
      '--base',
      stories!,
      '--models',
      adapter,
      '--output',
      merged,
      '--json',
    );
    expect(attach.events.at(-1)).toMatchObject({ event: 'result', method: 'attach', tensors: 47, output: merged });
    expect(existsSync(join(merged, 'tokenizer.json'))).toBe(true);
    expect(await evaluate('--model', merged)).toBeCloseTo(loss, 5);

    const generate = (...model: string[]) =>
      peft('generate', ...model, '--prompt', 'The cat said', '--max-new-tokens', '8', '--json');
    const [attached, whole] = [
      await generate('--model', stories!, '--adapter', adapter),
      await generate('--model', merged),
    ];
    expect(attached.events[0]).toMatchObject({ event: 'completion', prompt: 'The cat said', text: expect.any(String) });
    expect(attached.events[0]!.tokens).toEqual(whole.events[0]!.tokens);
  });

  it('generates greedily, text alone on standard output', async () => {
    const { code, stdout } = await peft(
      'generate',
      '--model',
      stories!,
      '--prompt',
      'Once upon a time',
      '--max-new-tokens',
      '12',
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^, there was a little girl/);
  });

  it('forward gives the loss and the gradients that PEFT gives', async () => {
    const folder = goldensPath('methods', 'cases', 'lora-qv-tiny-llama-nonzero')!;
    const output = out('raw.safetensors');
    const base = goldensPath('methods', 'models', 'tiny-llama')!;
    const argv = [
      '--model',
      base,
      '--adapter',
      join(folder, 'adapter_start'),
      '--inputs',
      join(folder, 'inputs.safetensors'),
    ];
    const { code } = await peft('forward', ...argv, '--output', output, '--loss', '--grads');
    expect(code).toBe(0);
    const open = async (path: string) => (await openSafetensors(path)).tensors;
    const got = await open(output);
    const [expected, inputs] = [
      await open(join(folder, 'expected.safetensors')),
      await open(join(folder, 'inputs.safetensors')),
    ];
    const numbers = async (tensors: typeof got, name: string) => (await tensors.get(name)!.read()).data as Float32Array;
    const mask = (await inputs.get('attention_mask')!.read()).data;
    const compared = [...expected.keys()].filter((name) => name.startsWith('grad/'));
    expect(compared.length).toBeGreaterThan(0);
    for (const [name, reference] of [
      ...compared.map((n) => [n, n]),
      ['loss', 'loss/start'],
      ['logits', 'logits/start'],
    ] as [string, string][]) {
      const [a, b] = [await numbers(got, name), await numbers(expected, reference)];
      const width = b.length / mask.length;
      const real = (i: number) => name !== 'logits' || Number(mask[Math.floor(i / width)]) > 0; // padding carries no meaning
      const largest = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const off = b.reduce((most, x, i) => (real(i) ? Math.max(most, Math.abs(x - a[i]!)) : most), 0);
      expect(off / largest, name).toBeLessThan(1.5e-5); // the tolerance the case suggests
    }
  });

  it('writes a checkpoint at Ctrl-C, ends with 130, and resumes', async () => {
    const [data, adapter] = [dataFile(), out('adapter')];
    const argv = training(data, adapter, '--steps', '200000');
    const stopped = await start(argv, (line, interrupt) => line.includes('"step":5,') && interrupt());
    expect(stopped.code).toBe(130);
    expect(stopped.events.at(-1)).toMatchObject({ event: 'error', code: 'CANCELLED' });
    const checkpoint = stopped.events.find(({ event }) => event === 'checkpoint')!;
    expect(existsSync(String(checkpoint.path))).toBe(true);
    expect(existsSync(join(adapter, 'adapter_config.json'))).toBe(false);

    let first: Record<string, unknown> | undefined;
    await start([...argv, '--resume'], (line, interrupt) => {
      const event = JSON.parse(line) as Record<string, unknown>;
      if (event.event !== 'step' || first) return;
      first = event;
      interrupt();
    });
    expect(first).toMatchObject({ step: Number(checkpoint.step) + 1 });
  });

  it('leaves an interrupted run alone unless it resumes it', async () => {
    const [data, adapter] = [dataFile(), out('adapter')];
    const checkpoint = join(adapter, 'checkpoints', 'step-00000009');
    mkdirSync(checkpoint, { recursive: true });
    const { code, events } = await peft(...training(data, adapter, '--steps', '1'));
    expect(code).toBe(2);
    expect(events.at(-1)).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(/step 9.*--resume/) });
    expect(existsSync(checkpoint)).toBe(true);
  });

  it('finds a file in the place of its output before it trains', async () => {
    const data = dataFile();
    const { code, events } = await peft(...training(data, data, '--steps', '1'));
    expect(code).toBe(1);
    expect(events).toEqual([expect.objectContaining({ event: 'error', code: 'FILE_UNWRITABLE' })]);
  });

  it('writes a checkpoint after some minutes', async () => {
    const argv = training(dataFile(), out('adapter'), '--steps', '2', '--checkpoint-minutes', '1e-9');
    const { events } = await peft(...argv);
    expect(events.flatMap(({ event, step }) => (event === 'checkpoint' ? [step] : []))).toEqual([1]); // the last one goes
  });

  it('serves adapters of any kind, says when it is ready, and stops cleanly', async () => {
    const tuned = goldensPath('methods', 'cases', 'lora-qv-stories260k-nonzero', 'adapter_start')!;
    const seeded = out('seeded');
    await peft(...training(dataFile(), seeded, '--method', 'nola', '--set', 'r=4', '--steps', '1'));
    expect((await peft('inspect', seeded, '--json')).events[0]).toMatchObject({ method: 'nola' });
    const argv = [
      'serve',
      ...['--model', stories!, '--adapter', `tuned=${tuned}`, `seeded=${seeded}`],
      ...['--port', '0', '--threads', '1', '--json'],
    ];
    let answers: Promise<unknown[]> | undefined;
    const { code, events } = await start(argv, (line, interrupt) => {
      const { event, url } = JSON.parse(line) as { event: string; url: string };
      if (event !== 'ready') return;
      const ask = async (model: string) => {
        const body = JSON.stringify({ model, prompt: 'Once', max_tokens: 3 });
        return (await fetch(`${url}/v1/completions`, { method: 'POST', body })).json();
      };
      answers = Promise.all(['tuned', 'seeded'].map(ask));
      answers.finally(interrupt);
    });
    expect(events[0]).toEqual({
      event: 'ready',
      url: expect.stringMatching(/^http:\/\/127/),
      models: ['stories260k', 'tuned', 'seeded'],
    });
    for (const answer of (await answers)!) expect(answer).toMatchObject({ usage: { completion_tokens: 3 } });
    expect(code).toBe(0);
  });

  it('refuses a wrong key of a method with exit code 2', async () => {
    const { code, events } = await peft(...training(dataFile(), out('adapter'), '--set', 'rnk=4'));
    expect(code).toBe(2);
    expect(events.at(-1)).toMatchObject({
      event: 'error',
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('rnk'),
    });
  });

  it('inspects files that are broken instead of failing on them', async () => {
    const path = out('broken.safetensors');
    writeFileSync(path, readFileSync(join(stories!, 'model.safetensors')).subarray(0, 1000));
    const { code, events } = await peft('inspect', path, '--json');
    expect(code).toBe(0);
    expect(events.at(-1)).toMatchObject({ kind: 'invalid', problems: [expect.any(String)] });
  });
});
