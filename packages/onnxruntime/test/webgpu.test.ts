import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Marathon } from './fixtures/descent.js';

/** SwiftShader, a Vulkan driver on the processor: Debian's Chromium brings it and the loader. */
const driver = process.env.PEFTJS_SWIFTSHADER ?? '/usr/lib/chromium';
const manifest = join(driver, 'vk_swiftshader_icd.json');
const found = process.platform === 'linux' && process.arch === 'x64' && existsSync(manifest);

const child = fileURLToPath(new URL('fixtures/webgpu-laws.ts', import.meta.url));
const fromSource = ['--expose-gc', '--import', 'tsx', '--conditions=@peftjs/source', child];

interface Found {
  readonly laws: number;
  readonly failures: readonly string[];
  readonly half: Readonly<Record<string, string>>;
}

it.skipIf(!found)(
  'obeys the laws of a backend on WebGPU in Node, and its memory stands still (skipped: no SwiftShader; PEFTJS_SWIFTSHADER names its folder)',
  { timeout: 300_000 }, // it compiles some hundred shaders
  async () => {
    const env = { ...process.env, LD_LIBRARY_PATH: driver, VK_DRIVER_FILES: manifest };
    const { stdout } = await promisify(execFile)(process.execPath, fromSource, { env });
    const { laws, failures, grown, losses, half } = JSON.parse(stdout) as Marathon & Found;
    expect(laws).toBeGreaterThan(90);
    expect(failures).toEqual([]);
    expect(losses[1]).toBeLessThan(losses[0]);
    expect(grown).toBeLessThan(50); // one tensor of the state lost at every step would be 200 MB
    expect(half['f16 in f32']).toBe('computed');
    expect(half['bf16 in f32']).toBe('computed');
    expect(half['f16 in half']).toMatch(/^computed$|^BACKEND_UNSUPPORTED .*the device has no f16/);
    expect(half['bf16 in half']).toMatch(/^BACKEND_UNSUPPORTED .*Gemm/);
  },
);
