const latin1 = (head: Uint8Array, length: number): string => String.fromCharCode(...head.subarray(0, length));

/** Files that are often met under the name of another: how they begin, and what to do. */
const kinds: readonly { readonly begins: string | RegExp; readonly advice: string }[] = [
  {
    begins: 'version https://git-lfs',
    advice: 'This is a Git LFS pointer, not the file itself: run `git lfs pull`, or download the file from its page.',
  },
  {
    begins: 'PK\x03\x04',
    advice: 'This is a zip archive, probably a PyTorch checkpoint, which can run code: convert it to safetensors.',
  },
  {
    begins: /^\u0080\p{Cc}/u,
    advice: 'This is a Python pickle, which can run code: convert it to safetensors.',
  },
  { begins: 'GGUF', advice: 'This is a GGUF file: open it with the GGUF reader.' },
  {
    begins: /^\s*<(?:!doctype|html|\?xml)/i,
    advice: 'This is a web page, probably the error page of a failed download: download the file again.',
  },
  { begins: '\x1f\x8b', advice: 'This is compressed with gzip: decompress it first.' },
  { begins: '\x89HDF', advice: 'This is an HDF5 file: convert it to safetensors.' },
  { begins: '\x93NUMPY', advice: 'This is a NumPy array: convert it to safetensors.' },
  { begins: /^\s*\{\s*"/, advice: 'This is JSON without the binary frame of a safetensors file.' },
];

/** How many bytes `recognise` looks at. */
export const recogniseBytes = 64;

/** What a file that is no safetensors file probably is, with the remedy; undefined when it looks like none known. */
export const recognise = (head: Uint8Array): string | undefined => {
  const text = latin1(head, Math.min(head.length, recogniseBytes));
  return kinds.find(({ begins }) => (typeof begins === 'string' ? text.startsWith(begins) : begins.test(text)))?.advice;
};
