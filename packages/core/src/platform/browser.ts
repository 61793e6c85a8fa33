import { PeftError } from '../errors.js';
import type { Platform, Sha256 } from './platform.js';

function refuse(): never {
  const remedy = 'pass bytes (memorySource), a Blob (blobSource) or a URL (httpSource) instead of a path';
  throw new PeftError('BACKEND_UNAVAILABLE', `A page has no files by path: ${remedy}.`);
}

const refuseLater = async (): Promise<never> => refuse();

/** Web Cryptography hashes only whole messages, so the pieces wait until the end. */
function sha256(): Sha256 {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  return {
    update: (bytes) => {
      pieces.push(Uint8Array.from(bytes)); // a copy: the caller may reuse its buffer
    },
    async digest() {
      const { subtle } = globalThis.crypto ?? {};
      if (!subtle) {
        const message = 'Digests need Web Cryptography, which a page has only over https or on localhost.';
        throw new PeftError('BACKEND_UNAVAILABLE', message);
      }
      const message = await new Blob(pieces).arrayBuffer();
      return new Uint8Array(await subtle.digest('SHA-256', message));
    },
  };
}

export const platform: Platform = {
  name: 'browser',
  resolve: refuse,
  parent: refuse,
  base: refuse,
  workingDirectory: refuse,
  entry: refuseLater,
  realPath: refuseLater,
  list: refuseLater,
  open: refuseLater,
  create: refuseLater,
  makeDirectory: refuseLater,
  link: refuseLater,
  rename: refuseLater,
  remove: refuseLater,
  sync: refuseLater,
  sha256,
  memory: () => Number.POSITIVE_INFINITY,
};
