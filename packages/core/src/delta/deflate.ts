const streamOf = (bytes: Uint8Array): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();

/** Raw deflate (RFC 1951). The bytes may differ between runtimes; what they unpack to does not. */
export async function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = streamOf(bytes).pipeThrough(new CompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/** Unpacks to exactly `length` bytes; undefined when the bytes are not that. Stops as soon as there are more. */
export async function inflate(bytes: Uint8Array, length: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    for await (const chunk of streamOf(bytes).pipeThrough(new DecompressionStream('deflate-raw'))) {
      total += chunk.length;
      if (total > length) return undefined;
      chunks.push(chunk);
    }
  } catch {
    return undefined; // not deflate, or bytes after its end
  }
  if (total !== length) return undefined;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
