import { blobSource, type FileSet } from '@peftjs/core/files';

/** A model directory beside the page: each file is fetched once, whole, when it is asked for. */
export const filesAt = (address: string): FileSet => ({
  name: address,
  async open(name) {
    const response = await fetch(`${address}/${name}`);
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`${address}/${name} answered with status ${response.status}.`);
    return blobSource(await response.blob(), name);
  },
});
