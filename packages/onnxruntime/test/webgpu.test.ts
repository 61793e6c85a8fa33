import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** SwiftShader, a Vulkan driver on the processor: Debian's Chromium brings it and the loader. */
const driver = process.env.PEFTJS_SWIFTSHADER ?? '/usr/lib/chromium';
const manifest = join(driver, 'vk_swiftshader_icd.json');
const found = process.platform === 'linux' && process.arch === 'x64' && existsSync(manifest);

const child = fileURLToPath(new URL('fixtures/webgpu-laws.ts', import.meta.url));
const fromSource = ['--import', 'tsx', '--conditions=@peftjs/source', child];

it.skipIf(!found)(
  'obeys the laws of a backend on WebGPU in Node (skipped: no SwiftShader; PEFTJS_SWIFTSHADER names its folder)',
  { timeout: 300_000 }, // it compiles some hundred shaders
  async () => {
    const env = { ...process.env, LD_LIBRARY_PATH: driver, VK_DRIVER_FILES: manifest };
    const { stdout } = await promisify(execFile)(process.execPath, fromSource, { env });
    const { laws, failures } = JSON.parse(stdout) as { laws: number; failures: string[] };
    expect(laws).toBeGreaterThan(90);
    expect(failures).toEqual([]);
  },
);
