import { createEngine, createServer } from '@peftjs/serve';
import type { Skill } from './skills.js';

/** One answer that came back over HTTP, and the batch that served it. */
export interface Reply {
  readonly text: string;
  readonly batch: { readonly rows: number; readonly adapters: number };
}

export interface Served {
  /** One prompt of each tenant, asked of every tenant and of the bare base in the same moment: by prompt, by model. */
  readonly together: readonly { readonly prompt: string; readonly replies: ReadonlyMap<string, Reply> }[];
  /** All held-out prompts, by tenant. */
  readonly answers: ReadonlyMap<string, readonly string[]>;
  readonly seconds: number;
  readonly requests: number;
}

/** Starts a server over the base with all adapters, and asks it over HTTP as any OpenAI client would. */
export async function serveAll(
  base: string,
  skills: readonly Skill[],
  folderOf: (tenant: string) => string,
): Promise<Served> {
  const engine = await createEngine({ model: base, name: 'base', slots: { adapters: skills.length, rank: 8 } });
  for (const { tenant } of skills) await engine.adapters.put(tenant, folderOf(tenant));
  const server = await createServer({ engine }).listen();
  try {
    const names = ['base', ...skills.map(({ tenant }) => tenant)];
    const prompts = skills.map(({ heldOut }) => heldOut[0]!.prompt);
    const together = await Promise.all(
      prompts.map(async (prompt) => {
        const replies = await Promise.all(names.map((name) => complete(server.url, name, prompt)));
        return { prompt, replies: new Map(names.map((name, i) => [name, replies[i]!])) };
      }),
    );

    const started = performance.now();
    const all = await Promise.all(
      skills.map(({ tenant, heldOut }) =>
        Promise.all(heldOut.map(async ({ prompt }) => (await complete(server.url, tenant, prompt)).text)),
      ),
    );
    const seconds = (performance.now() - started) / 1000;
    const answers = new Map(skills.map(({ tenant }, i) => [tenant, all[i]!]));
    return { together, answers, seconds, requests: all.flat().length };
  } finally {
    await server.close();
    await engine.dispose();
  }
}

/** One request: the adapter's name is the model. */
async function complete(url: string, model: string, prompt: string): Promise<Reply> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt, max_tokens: 48, temperature: 0 }),
  });
  const body = (await response.json()) as { choices?: { text: string }[]; batch?: Reply['batch'] };
  const [choice] = body.choices ?? [];
  if (!response.ok || !choice || !body.batch) throw new Error(`${model}: ${response.status} ${JSON.stringify(body)}`);
  return { text: choice.text, batch: body.batch };
}
