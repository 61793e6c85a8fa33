/** A file read and written at places of the caller's choice. Calls return when the bytes are there. */
export interface OpenFile {
  /** Fills `into` from byte `at` on. @throws PeftError FILE_INVALID when the file is shorter */
  read(into: Uint8Array, at: number): void;
  write(bytes: Uint8Array, at: number): void;
  close(): void;
}

export interface Files {
  open(path: string, mode: 'read' | 'write'): OpenFile;
  /** A new file of this many bytes, beginning with `head`. */
  create(path: string, head: Uint8Array, bytes: number): Promise<void>;
  join(...parts: readonly string[]): string;
  base(path: string): string;
  kind(path: string): Promise<'file' | 'directory' | undefined>;
  readText(path: string): Promise<string | undefined>;
  /** Copies what describes a model (configuration, tokenizer, licence), not its weights; what is there already stays. */
  copyModelFiles(from: string, to: string, only?: RegExp): Promise<void>;
}
