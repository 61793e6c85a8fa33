import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readAdapter } from '@peftjs/core';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Chromium, chromiumPath, launchChromium } from '../../scripts/browser/chromium.js';
import { serveFolder } from '../../scripts/browser/serve.js';
import { answers } from '../demo/answers.js';
import { buildPage } from './build.js';

const base = fileURLToPath(new URL('../demo/base', import.meta.url));
const steps = 20;
/** Seconds are enough on a machine that does nothing else. */
const timeout = 180_000;
const texts = (page: Page, selector: string) => page.locator(selector).allTextContents();

/** Opens the page; what it throws is collected. */
async function open({ context }: Chromium, url: string) {
  const page = await context.newPage();
  page.setDefaultTimeout(timeout);
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(url);
  await page.locator('#train:enabled').waitFor();
  await page.fill('#steps', String(steps));
  return { page, errors };
}

/** Clicks every link of the files and keeps what arrives. */
async function download(page: Page, folder: string): Promise<void> {
  for (const link of await page.locator('#files a').all()) {
    const arrives = page.waitForEvent('download');
    await link.click();
    const file = await arrives;
    await file.saveAs(join(folder, file.suggestedFilename()));
  }
}

describe.skipIf(!chromiumPath)('a page that trains (skipped: there is no Chromium; PEFTJS_CHROMIUM names one)', () => {
  let folder: string;
  let chromium: Chromium;
  const backend = onnxruntime();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'peftjs-page-'));
    await buildPage(join(folder, 'page'));
    chromium = await launchChromium();
  });
  afterAll(async () => {
    await backend.dispose();
    await chromium?.close();
    await rm(folder, { recursive: true, force: true });
  });

  for (const isolated of [true, false])
    it(`gives Node an adapter that answers the same, ${isolated ? 'with threads' : 'on one thread'}`, {
      timeout,
    }, async () => {
      const server = await serveFolder(join(folder, 'page'), { isolated });
      const { page, errors } = await open(chromium, server.url);
      expect(await page.evaluate('crossOriginIsolated')).toBe(isolated);

      await page.press('#steps', 'Enter');
      await page.getByText(new RegExp(`Step \\d+ of ${steps}`)).waitFor(); // the page hears of a step before the end
      expect(await page.locator('#take').isHidden()).toBe(true);
      await page.locator('#take').waitFor();
      const losses = (await texts(page, '#losses td:last-child')).map(Number);
      expect(losses).toHaveLength(steps);
      expect(losses.at(-1)).toBeLessThan(losses[0]! / 4);

      const prompts = await texts(page, '#answers li > p');
      const [ofBase, adapted] = [
        await texts(page, '#answers dd:nth-of-type(1)'),
        await texts(page, '#answers dd:nth-of-type(2)'),
      ];
      expect(prompts.length).toBeGreaterThan(0);
      const adapterFolder = join(folder, isolated ? 'threads' : 'one');
      await download(page, adapterFolder);
      const model = await loadModel(base, { task: causalLm() });
      const adapter = await readAdapter(adapterFolder, { base: model });
      const trimmed = async (found: Promise<string[]>) => (await found).map((text) => text.trim());
      expect(await trimmed(answers(model, backend, prompts))).toEqual(ofBase);
      expect(await trimmed(answers(model, backend, prompts, adapter))).toEqual(adapted);
      expect(adapted).not.toEqual(ofBase);

      expect(errors).toEqual([]);
      await page.close();
      await server.close();
    });

  it('answers before any training, stops when asked to, and fits a phone', { timeout }, async () => {
    const server = await serveFolder(join(folder, 'page'));
    const { page, errors } = await open(chromium, server.url);
    await page.fill('#prompt', 'What does the whale eat?');
    await page.press('#prompt', 'Enter');
    await page.locator('#answers dd').waitFor();
    expect(await texts(page, '#answers dt')).toEqual(['Base']);

    await page.fill('#steps', '2000');
    await page.press('#steps', 'Enter');
    await page.getByText(/Step \d+ of/).waitFor();
    await page.press('#stop', 'Enter');
    await page.getByText('Stopped after step').waitFor();
    expect(await page.locator('#train:focus').isEnabled()).toBe(true);

    await page.setViewportSize({ width: 360, height: 720 });
    await expect.poll(() => page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(errors).toEqual([]);
    await page.close();
    await server.close();
  });

  it('says what is wrong when there is no model', { timeout }, async () => {
    await rm(join(folder, 'page', 'base', 'config.json'));
    const server = await serveFolder(join(folder, 'page'));
    const page = await chromium.context.newPage();
    await page.goto(server.url);
    await page.getByRole('alert').getByText('has no config.json').waitFor({ timeout });
    expect(await page.locator('#train').isEnabled()).toBe(false);
    await page.close();
    await server.close();
  });
});
