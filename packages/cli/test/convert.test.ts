import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyAdapter, readAdapter, writeAdapter } from '@peftjs/core';
import { openWeights } from '@peftjs/core/files';
import { readModel } from '@peftjs/core/graph';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, goldensPath, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { peft } from './run.js';

const base = sharedPath('models', 'stories260k')!;
const adapter = goldensPath('methods', 'cases', 'lora-qv-stories260k-nonzero', 'adapter_start')!;
const block = goldensPath('formats', 'onnx', 'block')!;
const tiny = goldensPath('methods', 'models', 'tiny-llama')!;
const ia3 = goldensPath('methods', 'cases', 'ia3-tiny-llama', 'adapter_end')!;
const out = (name: string) => join(mkdtempSync(join(tmpdir(), 'peft-convert-')), name);

async function convert(from: string, to: string, ...more: string[]) {
  const { code, events } = await peft('convert', from, to, ...more, '--json', '--quiet');
  expect(events.at(-1)).toMatchObject({ event: 'result', output: to });
  expect(code).toBe(0);
  return events.at(-1)!;
}

const inspect = async (path: string, ...more: string[]) =>
  (await peft('inspect', path, ...more, '--json')).events.at(-1)!;

/** The base's own tensors with an adapter in them. */
async function merged(path: string) {
  const { tensors } = await openWeights(base);
  return applyAdapter(tensors, await readAdapter(path, { warn() {} }));
}

describe.skipIf(!base || !adapter)('convert (without stories260k and the goldens, set PEFTJS_SHARED)', () => {
  it('to GGUF and back keeps the adapter to the bit', async () => {
    const [gguf, back] = [out('a.gguf'), out('back')];
    const made = await convert(adapter, gguf, '--to', 'gguf', '--base', base);
    expect(made).toMatchObject({ from: 'peft', to: 'gguf', modules: 10, alpha: 8 });
    expect(await inspect(gguf)).toMatchObject({
      kind: 'gguf-adapter',
      method: 'lora',
      architecture: 'llama',
      ranks: [4],
      densities: [1],
      problems: [],
    });
    const { digest } = await convert(gguf, back, '--to', 'peft', '--base', base);
    expect(digest).toBe(made.digest);
    expect(await inspect(back)).toMatchObject({ kind: 'adapter', digest, problems: [] });
  });

  it.skipIf(!ia3)('adapters of every layout, told their base where the files need it', async () => {
    const [unknown, known] = await Promise.all([[], ['--base', tiny]].map((more) => inspect(ia3, ...more)));
    expect(unknown).toMatchObject({ kind: 'invalid' });
    expect(String(unknown!.problems)).toContain('k_proj.weight');
    expect(known).toMatchObject({ kind: 'adapter', layout: 'IA3', kinds: ['scaling'], problems: [] });
    const [native, back] = [out('native'), out('back')];
    const { digest } = await convert(ia3, native, '--to', 'peft', '--layout', 'PEFTJS', '--base', tiny);
    expect(await inspect(native)).toMatchObject({ layout: 'PEFTJS', kinds: ['scaling'], digest, problems: [] });
    expect(await convert(native, back, '--to', 'peft', '--layout', 'IA3')).toMatchObject({ layout: 'IA3', digest });
    expect(await inspect(back)).toMatchObject({ layout: 'IA3', digest, problems: [] });
    const { code, events } = await peft('convert', native, out('never'), '--to', 'peft', '--layout', 'SHIRA', '--json');
    expect(code).not.toBe(0);
    expect(events.at(-1)).toMatchObject({ event: 'error', code: 'DELTA_CONFLICT' });
  });

  it('an adapter goes only into the base that it says it was made for', async () => {
    const foreign = out('foreign');
    const made = await readAdapter(adapter, { warn() {} });
    await writeAdapter(foreign, { ...made, base: { name: 'another', digest: `sha256:${'0'.repeat(64)}` } });
    const into = [
      ['convert', foreign, out('merged'), '--to', 'merged', '--base', base],
      ['convert', foreign, out('a.onnx'), '--to', 'onnx', '--base', base],
      ['merge', '--method', 'attach', '--base', base, '--models', foreign, '--output', out('attached')],
      ['forward', '--model', base, '--adapter', foreign, '--inputs', adapter, '--output', out('logits.safetensors')],
    ];
    for (const command of into)
      expect((await peft(...command, '--json')).events.at(-1)).toMatchObject({
        event: 'error',
        code: 'ADAPTER_MISMATCH',
        message: expect.stringContaining('it was made for another with digest'),
      });
  });

  it('to .onnx_adapter and back changes the same parameters alike', async () => {
    const [file, back] = [out('a.onnx_adapter'), out('back')];
    await convert(adapter, file, '--to', 'onnx-adapter');
    expect(await inspect(file)).toMatchObject({ kind: 'onnx-adapter', tensors: 20, ranks: [4], problems: [] });
    await convert(file, back, '--to', 'peft');
    const [own, again] = [await merged(adapter), await merged(back)];
    expect([...again.pristine.keys()].sort()).toEqual([...own.pristine.keys()].sort());
    for (const path of own.pristine.keys())
      expectClose(path, await again.parameters.get(path)!.read(), await own.parameters.get(path)!.read(), {
        relToMax: 1e-6,
      });
  });

  it.skipIf(!tiny)('to a smaller model, which answers', async () => {
    const lora = goldensPath('methods', 'cases', 'lora-qv-tiny-llama-nonzero', 'adapter_start')!;
    const folder = out('pruned');
    const result = await convert(lora, folder, '--to', 'pruned', '--base', tiny, '--heads', '1', '--channels', '0.5');
    expect(Number(result.left)).toBeLessThan(Number(result.parameters));
    expect(Number(result.flops_left)).toBeLessThan(Number(result.flops));
    const { tensors } = await openWeights(folder);
    expect(tensors.get('model.layers.1.self_attn.q_proj.weight')!.shape).toEqual([16, 32]);
    expect(tensors.get('model.layers.1.mlp.down_proj.weight')!.shape).toEqual([32, 32]);
    const model = await loadModel(folder, { task: causalLm() });
    // All layers are as small as each other, and the base has a head_dim: readers know names for all of that.
    expect(model.cache).toMatchObject({ kvHeads: 1, headDim: 8 });
    const channels = tensors.get('model.layers.1.mlp.down_proj.weight')!.shape[1];
    expect(model.config.raw).toMatchObject({ intermediate_size: channels });
    const { code, events } = await peft('convert', lora, out('none'), '--to', 'pruned', '--base', tiny, '--json');
    expect(code).not.toBe(0);
    expect(String(events.at(-1)!.message)).toContain('--heads and --channels are missing');
  });

  it('to ONNX on a model directory gives what the merged model gives', async () => {
    const [whole, folder, plain] = [out('whole.onnx'), out('merged'), out('plain.onnx')];
    await convert(adapter, whole, '--to', 'onnx', '--base', base);
    await convert(adapter, folder, '--to', 'merged', '--base', base);
    await convert(folder, plain, '--to', 'onnx');
    const backend = onnxruntime();
    const i64 = (values: number[]) =>
      ({ dtype: 'i64', shape: [1, 4], data: BigInt64Array.from(values, BigInt) }) as const;
    const feeds = {
      input_ids: i64([1, 403, 407, 261]),
      attention_mask: i64([1, 1, 1, 1]),
      position_ids: i64([0, 1, 2, 3]),
    };
    const logits = await Promise.all(
      [whole, plain].map(async (path) => {
        const program = await backend.compile(await readModel(path), { outputs: ['logits'] });
        const result = await program.run(feeds);
        await program.dispose();
        return result.logits!;
      }),
    );
    await backend.dispose();
    expectClose('logits', logits[0]!, logits[1]!, { relToMax: 1e-5 });
  });

  it('makes an ONNX model adapter-ready, or puts an adapter into it', async () => {
    const [ready, filled] = [out('ready.onnx'), out('filled.onnx')];
    const model = join(block, 'model.onnx');
    const made = await convert(model, ready, '--to', 'onnx', '--target-modules', 'q_proj,v_proj', '--names', 'plain');
    expect(made).toMatchObject({
      modules: 4,
      inputs: expect.arrayContaining(['model.layers.1.self_attn.v_proj.lora_B']),
    });
    expect(await inspect(ready)).toMatchObject({
      kind: 'onnx',
      slots: [0, 1].flatMap((i) => ['q', 'v'].map((name) => `model.layers.${i}.self_attn.${name}_proj`)),
      problems: [],
    });
    await convert(join(block, 'adapter'), filled, '--to', 'onnx', '--base', model);
    expect(await inspect(filled)).toMatchObject({ inputs: ['input_ids i64 [batch,seq]'], slots: [], problems: [] });
  });

  it('asks for the base where a format needs it, and says what a path is not', async () => {
    const missing = await peft('convert', adapter, out('a.gguf'), '--to', 'gguf');
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('--base is missing') });
    const wrong = await peft('convert', base, out('x'), '--to', 'peft');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('is no adapter') });
    const odd = await peft('convert', adapter, out('x'), '--to', 'ggml');
    expect(odd).toMatchObject({ code: 2, stderr: expect.stringContaining('--to') });
  });

  it('inspects files that are broken: their problems are the answer', async () => {
    const broken = goldensPath('formats', 'gguf', 'malformed', 'b-missing.gguf')!;
    expect(await inspect(broken)).toMatchObject({
      kind: 'gguf-adapter',
      problems: [expect.stringContaining('has no tensor .lora_b')],
    });
    const cut = goldensPath('formats', 'onnx_adapter', 'malformed', 'truncated-half.onnx_adapter')!;
    expect(await inspect(cut)).toMatchObject({ kind: 'invalid', problems: [expect.any(String)] });
  });
});
