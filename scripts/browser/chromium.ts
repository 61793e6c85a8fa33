import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';

/** Where Debian, other distributions and macOS put it; PEFTJS_CHROMIUM names another one. */
const places = [
  process.env.PEFTJS_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** Undefined where there is none: tests that need it skip. */
export const chromiumPath = places.find((path) => path !== undefined && existsSync(path));

/** A browser that speaks to nobody but the pages it is sent to. */
const quiet = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-quic',
  '--disable-sync',
  '--no-first-run',
  '--no-sandbox',
];

export interface Chromium {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** Headless Chromium with a profile of its own, gone when it is closed. @param gpu flags instead of `--disable-gpu` */
export async function launchChromium(gpu: readonly string[] = ['--disable-gpu']): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), 'peftjs-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath!,
    headless: true,
    args: [...quiet, ...gpu],
  });
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
