import { Template } from '@huggingface/jinja';
import { PeftError } from '@peftjs/core';
import type { FileSet } from '@peftjs/core/files';
import { readText } from './directory.js';
import type { Tokenizer } from './tokenizer.js';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** Ends with the opening of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template (`tools`, `documents`, ...). */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A model's way of writing a conversation as one text. */
export interface ChatTemplate {
  readonly source: string;
  /** @throws PeftError DATA_INVALID when the template refuses the messages */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string;
}

/** @throws PeftError FILE_INVALID when the template is not valid Jinja */
export function createChatTemplate(source: string, special: Readonly<Record<string, string>> = {}): ChatTemplate {
  const template = parse(source);
  return {
    source,
    render(messages, { addGenerationPrompt = true, variables = {} } = {}) {
      try {
        return template.render({ ...special, messages, add_generation_prompt: addGenerationPrompt, ...variables });
      } catch (cause) {
        throw new PeftError('DATA_INVALID', `The chat template refused the messages: ${(cause as Error).message}`, {
          cause,
        });
      }
    },
  };
}

function parse(source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `The chat template is not valid: ${(cause as Error).message}`, { cause });
  }
}

/** The template in tokenizer_config.json: a text, or a list of named ones of which `default` is taken. */
function configured(chatTemplate: unknown): string | undefined {
  if (typeof chatTemplate === 'string') return chatTemplate;
  if (!Array.isArray(chatTemplate)) return undefined;
  const named = chatTemplate as readonly { name?: unknown; template?: unknown }[];
  const chosen = named.find((entry) => entry.name === 'default') ?? named[0];
  return typeof chosen?.template === 'string' ? chosen.template : undefined;
}

/** The chat template of a model directory: chat_template.jinja before tokenizer_config.json; undefined without one. */
export async function readChatTemplate(
  files: string | FileSet,
  tokenizer: Tokenizer,
): Promise<ChatTemplate | undefined> {
  const source = (await readText(files, 'chat_template.jinja')) ?? configured(tokenizer.config.chat_template);
  return source === undefined ? undefined : createChatTemplate(source, tokenizer.special);
}
