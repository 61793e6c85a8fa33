/** What a path names. Symbolic links are followed; `version` changes when the content is replaced or rewritten. */
export interface Entry {
  readonly kind: 'file' | 'directory' | 'other';
  readonly bytes: number;
  readonly version: string;
}

export interface ReadHandle {
  /** Bytes `from` (inclusive) to `to` (exclusive); fewer only where the file ends. */
  read(from: number, to: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface WriteHandle {
  write(bytes: Uint8Array): Promise<void>;
  /** Everything written is on the disk when this returns. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Sha256 {
  update(bytes: Uint8Array): void;
  digest(): Promise<Uint8Array>;
}

/** Everything the library asks of the machine it runs on. Paths are strings of the machine's own form. */
export interface Platform {
  readonly name: 'node' | 'browser';
  /** An absolute path of the parts, and its pieces. */
  resolve(...parts: readonly string[]): string;
  parent(path: string): string;
  base(path: string): string;
  workingDirectory(): string;
  /** @throws PeftError FILE_MISSING, FILE_UNWRITABLE from here on. */
  entry(path: string): Promise<Entry | undefined>;
  /** The path with all symbolic links resolved. */
  realPath(path: string): Promise<string>;
  /** Names in a directory, sorted. */
  list(path: string): Promise<readonly string[]>;
  open(path: string): Promise<ReadHandle>;
  /** A new file; refused when the path exists. */
  create(path: string): Promise<WriteHandle>;
  /** With its parents; nothing happens when it exists. */
  makeDirectory(path: string): Promise<void>;
  /** The same content under another path, without copying where the file system can; directories with all they hold. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A file, or a directory with all it holds; nothing happens when it does not exist. */
  remove(path: string): Promise<void>;
  /** A file's content or the names in a directory are on the disk when this returns. */
  sync(path: string): Promise<void>;
  sha256(): Sha256;
  /**
   * Bytes that this process may come to at most: the machine's, or its container's. How much of it is free nobody knows:
   * what files leave behind in memory counts as taken, and goes when it is needed.
   */
  memory(): number;
}
