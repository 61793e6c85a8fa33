/** What the page and its worker say to each other. Plain data. */

export type Device = 'wasm' | 'webgpu';

/** One question of a skill: what the model is asked, and what it should say. */
export interface Question {
  readonly prompt: string;
  readonly completion: string;
}

export interface Lesson {
  readonly name: string;
  readonly wants: string;
  readonly rows: number;
  readonly example: Question;
}

export interface Settings {
  readonly lesson: string;
  readonly steps: number;
  readonly rank: number;
  readonly device: Device;
}

export interface Answer {
  readonly prompt: string;
  readonly base: string;
  /** Absent before the first training. */
  readonly adapted?: string;
  /** Absent for questions of the visitor's own. */
  readonly wanted?: string;
}

export interface NamedFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export type Request =
  | { readonly type: 'train'; readonly settings: Settings }
  | { readonly type: 'ask'; readonly prompt: string }
  | { readonly type: 'stop' };

export type Reply =
  | {
      readonly type: 'ready';
      readonly lessons: readonly Lesson[];
      readonly parameters: number;
      readonly devices: readonly Device[];
      readonly threads: number;
    }
  | { readonly type: 'start'; readonly trainable: number; readonly steps: number }
  | { readonly type: 'step'; readonly step: number; readonly loss: number }
  | { readonly type: 'asking' }
  | { readonly type: 'done'; readonly answers: readonly Answer[]; readonly files: readonly NamedFile[] }
  | { readonly type: 'answer'; readonly answer: Answer }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly message: string };
