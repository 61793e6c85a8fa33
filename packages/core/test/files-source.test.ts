import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  blobSource,
  digestSource,
  digestTensors,
  encodeSafetensors,
  httpSource,
  memorySource,
  openSafetensors,
  sha256,
} from '../src/files/index.js';
import { platform as browser } from '../src/platform/browser.js';
import { platform as node } from '../src/platform/node.js';
import { f32, type TensorRef, tensorRef } from '../src/tensor/index.js';

const tensors = new Map<string, TensorRef>([
  ['b', tensorRef(f32([2], [1, 2]))],
  ['a', tensorRef(f32([3, 1], [3, 4, 5]))],
]);
let content: Uint8Array;
let server: Server;
let address: string;
let tag = '"1"';

beforeAll(async () => {
  content = await encodeSafetensors(tensors);
  server = createServer(({ url, headers }, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    if (url === '/missing') response.writeHead(404).end();
    else if (url === '/private' && headers.authorization !== 'Bearer key') response.writeHead(401).end();
    else if (url === '/whole') response.writeHead(200).end(content);
    else {
      const shift = url === '/lies' && from !== '0' ? 1 : 0;
      const range = `bytes ${Number(from) + shift}-${Number(to) + shift}/${content.length}`;
      response
        .writeHead(206, { 'content-range': range, etag: tag })
        .end(content.subarray(Number(from), Number(to) + 1));
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

describe('byte sources', () => {
  it('read the same tensors from memory, a Blob and a server', async () => {
    const url = `${address}/private`;
    const sources = [
      memorySource(content),
      blobSource(new Blob([Uint8Array.from(content)])),
      await httpSource(url, { headers: { authorization: 'Bearer key' } }),
    ];
    const digest = await digestTensors(tensors);
    for (const source of sources) {
      expect(await digestTensors((await openSafetensors(source)).tensors)).toBe(digest);
      expect(await source.read(3, 3)).toEqual(new Uint8Array(0));
      await expect(source.read(0, content.length + 1)).rejects.toMatchObject({ code: 'FILE_INVALID' });
      await source.close();
      await expect(source.read(0, 1)).rejects.toThrow('has been closed');
    }
  });

  it('tell what is wrong with a server', async () => {
    await expect(httpSource(`${address}/missing`)).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await expect(httpSource(`${address}/private`)).rejects.toThrow('authorization header');
    await expect(httpSource(`${address}/whole`)).rejects.toThrow('status 200 instead of 206');
    await expect(httpSource('http://127.0.0.1:1/')).rejects.toThrow('cannot be reached');
    await expect((await httpSource(`${address}/lies`)).read(1, 4)).rejects.toThrow('with other bytes');
    const aborted = httpSource(`${address}/file`, { signal: AbortSignal.abort(new Error('enough')) });
    await expect(aborted).rejects.toThrow('enough');
  });

  it('notice a resource that changes between two reads', async () => {
    const source = await httpSource(`${address}/file`);
    tag = '"2"';
    await expect(source.read(0, 4)).rejects.toThrow('has changed since it was opened');
  });
});

describe('digests', () => {
  it('is SHA-256', async () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'; // FIPS 180-4, example of one block
    expect(await sha256('abc')).toBe(abc);
    expect(await sha256([Uint8Array.of(97), Uint8Array.of(98, 99)])).toBe(abc);
    expect(await digestSource(memorySource(content))).toBe(await sha256(content));
  });

  it('of tensors depends on names, dtypes, shapes and values, not on order', async () => {
    const digest = (entries: Iterable<[string, TensorRef]>) => digestTensors(new Map(entries));
    const base = await digest(tensors);
    expect(await digest([...tensors].reverse())).toBe(base);
    const a = [3, 1] as const satisfies readonly number[];
    const others: [string, TensorRef][][] = [
      [['b', tensors.get('b')!]],
      [
        ['b', tensors.get('b')!],
        ['c', tensors.get('a')!],
      ],
      [
        ['b', tensors.get('b')!],
        ['a', tensorRef(f32([1, 3], [3, 4, 5]))],
      ],
      [
        ['b', tensors.get('b')!],
        ['a', tensorRef(f32(a, [3, 4, 6]))],
      ],
      [
        ['b', tensors.get('b')!],
        ['a', tensorRef({ dtype: 'i32', shape: a, data: new Int32Array(Float32Array.of(3, 4, 5).buffer) })],
      ],
    ];
    const digests = await Promise.all(others.map(digest));
    expect(new Set([base, ...digests]).size).toBe(others.length + 1);
  });
});

describe('the platform of a page', () => {
  it('hashes as Node does and explains that it has no paths', async () => {
    for (const platform of [browser, node]) {
      const hash = platform.sha256();
      hash.update(content.subarray(0, 10));
      hash.update(content.subarray(10));
      expect(Buffer.from(await hash.digest()).toString('hex')).toBe(await sha256(content));
    }
    expect(() => browser.resolve('model')).toThrow('A page has no files by path');
    await expect(browser.open('model')).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect(Object.keys(browser).sort()).toEqual(Object.keys(node).sort());
  });
});
