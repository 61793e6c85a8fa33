import { createEngine, createServer } from '@peftjs/serve';
import type { Skill } from './skills.js';

/** What came back over HTTP. */
export interface Served {
  /** By tenant, in the order of its held-out rows. */
  readonly answers: ReadonlyMap<string, readonly string[]>;
  readonly seconds: number;
  readonly requests: number;
  /** The most adapters that one batch held. */
  readonly mixed: number;
}

/** Starts a server over the base with all adapters, and asks every tenant's held-out prompts at once. */
export async function serveAll(
  base: string,
  skills: readonly Skill[],
  folderOf: (tenant: string) => string,
): Promise<Served> {
  const engine = await createEngine({ model: base, slots: { adapters: skills.length, rank: 8 }, maxBatch: 16 });
  let mixed = 0;
  engine.subscribe((event) => {
    if (event.type === 'run') mixed = Math.max(mixed, event.batch.adapters);
  });
  for (const { tenant } of skills) await engine.adapters.put(tenant, folderOf(tenant));
  const server = await createServer({ engine }).listen();
  try {
    // Row by row through the tenants, so that neighbours in the line want different adapters.
    const started = performance.now();
    const rows = skills[0]?.heldOut.length ?? 0;
    const calls = Array.from({ length: rows }, (_, i) =>
      skills.map(({ tenant, heldOut }) => complete(server.url, tenant, heldOut[i]!.prompt)),
    );
    const answers = new Map<string, string[]>();
    for (const [t, { tenant }] of skills.entries()) {
      answers.set(tenant, await Promise.all(calls.map((row) => row[t]!)));
    }
    const seconds = (performance.now() - started) / 1000;
    return { answers, seconds, requests: rows * skills.length, mixed };
  } finally {
    await server.close();
    await engine.dispose();
  }
}

/** One request as any OpenAI client would send it: the adapter's name is the model. */
async function complete(url: string, model: string, prompt: string): Promise<string> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt, max_tokens: 48, temperature: 0 }),
  });
  const body = (await response.json()) as { choices?: { text: string }[] };
  const [choice] = body.choices ?? [];
  if (!response.ok || !choice) throw new Error(`${model}: ${response.status} ${JSON.stringify(body)}`);
  return choice.text;
}
