import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackendPage } from './backend.page.js';
import { bundlePage } from './bundle.js';
import { type Chromium, chromiumPath, launchChromium } from './chromium.js';
import { type PageServer, serveFolder } from './serve.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const fixtures = here('../../examples/fixtures');
/** Chromium brings SwiftShader: WebGPU on the processor, where there is no graphics card. */
const softwareGpu = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
/** It compiles some hundred shaders, which takes a minute on a busy machine. */
const timeout = 300_000;

type Device = Parameters<BackendPage['losses']>[0];

describe.skipIf(!chromiumPath)(
  'onnxruntime-web in Chromium (skipped: there is none; PEFTJS_CHROMIUM names one)',
  () => {
    let folder: string;
    let server: PageServer;
    let chromium: Chromium;
    let page: Page;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'peftjs-backend-page-'));
      await bundlePage({ entries: { page: here('backend.page.ts') }, folder });
      await cp(join(fixtures, 'encoder'), join(folder, 'encoder'), { recursive: true });
      await cp(join(fixtures, 'train.tsv'), join(folder, 'train.tsv'));
      await writeFile(join(folder, 'index.html'), '<!doctype html><script type="module" src="page.js"></script>');
      server = await serveFolder(folder);
      chromium = await launchChromium(softwareGpu);
      page = await chromium.context.newPage();
      await page.goto(server.url);
      await page.waitForFunction('globalThis.laws');
    });
    afterAll(async () => {
      await chromium?.close();
      await server?.close();
      await rm(folder, { recursive: true, force: true });
    });

    const missing = async (device: Device): Promise<boolean> =>
      device === 'webgpu' && !(await page.evaluate('navigator.gpu?.requestAdapter()'));
    const losses = (device: Device) => page.evaluate<number[]>(`losses('${device}', 10)`);

    for (const device of ['wasm', 'webgpu'] as const)
      it(`obeys the laws of a backend on ${device}`, { timeout }, async ({ skip }) => {
        skip(await missing(device), `the browser has no ${device} here`);
        const found = await page.evaluate<Awaited<ReturnType<BackendPage['laws']>>>(`laws('${device}', 2e-6)`);
        expect(found.length).toBeGreaterThan(90);
        expect(found.filter(([, problem]) => problem !== null)).toEqual([]);
      });

    it('says that the graphics card is lost', { timeout }, async ({ skip }) => {
      skip(await missing('webgpu'), 'the browser has no WebGPU here');
      const other = await chromium.context.newPage();
      await other.goto(server.url);
      await other.waitForFunction('globalThis.lost');
      const { code, message } = await other.evaluate<Awaited<ReturnType<BackendPage['lost']>>>('lost()');
      expect(message).toContain('the device was lost');
      expect(code).toBe('BACKEND_UNAVAILABLE');
      await other.close();
    });

    it('trains on WebGPU as on WebAssembly', { timeout }, async ({ skip }) => {
      skip(await missing('webgpu'), 'the browser has no WebGPU here');
      const [expected, found] = [await losses('wasm'), await losses('webgpu')];
      expect(expected.at(-1)).toBeLessThan(expected[0]!);
      const apart = found.map((loss, step) => Math.abs(loss - expected[step]!));
      expect(found).toHaveLength(10);
      expect(Math.max(...apart), `apart by step: ${apart}`).toBeLessThan(1e-5); // 2e-7 was seen
    });
  },
);
