import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Engine, EngineEvent } from '../engine/types.js';

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const counts = [1, 2, 4, 8, 16, 32, 64, 128];

export interface Metrics {
  /** The page a scraper reads. */
  text(): Promise<{ readonly type: string; readonly body: string }>;
  request(route: string, code: number): void;
  dispose(): void;
}

/** Counts what the engine does; a registry of its own, so that several servers can live in one process. */
export function createMetrics(engine: Engine): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });

  const requests = new Counter({
    name: 'serve_requests_total',
    help: 'Requests answered',
    labelNames: ['route', 'code'],
    registers,
  });
  const tokens = new Counter({
    name: 'serve_tokens_total',
    help: 'Tokens read and written',
    labelNames: ['kind'],
    registers,
  });
  const evictions = new Counter({
    name: 'serve_adapter_evictions_total',
    help: 'Adapters that lost their slot to another',
    registers,
  });
  const load = histogram('serve_adapter_load_seconds', 'Writing an adapter into a slot', seconds);
  const queue = histogram('serve_queue_seconds', 'Waiting for the batch', seconds);
  const first = histogram('serve_ttft_seconds', 'Arrival to first token', seconds);
  const between = histogram('serve_itl_seconds', 'Time between tokens', seconds);
  const total = histogram('serve_e2e_seconds', 'Arrival to last token', seconds);
  const rows = histogram('serve_batch_rows', 'Rows of a run', counts);
  const adapters = histogram('serve_batch_distinct_adapters', 'Distinct adapters in a run', [0, ...counts]);
  gauge('serve_queue_depth', 'Requests waiting', () => engine.state().waiting);
  gauge('serve_running', 'Requests in the batch', () => engine.state().running);
  gauge('serve_adapters', 'Adapters registered', () => engine.adapters.list().length);
  gauge('serve_adapters_resident', 'Adapters in slots', () => engine.state().slots.length);

  function observe(event: EngineEvent): void {
    switch (event.type) {
      case 'run':
        rows.observe(event.batch.rows);
        adapters.observe(event.batch.adapters);
        break;
      case 'started':
        queue.observe(event.queue);
        break;
      case 'first':
        first.observe(event.seconds);
        break;
      case 'token':
        between.observe(event.seconds);
        break;
      case 'finished':
        tokens.inc({ kind: 'prompt' }, event.promptTokens);
        tokens.inc({ kind: 'completion' }, event.newTokens);
        total.observe(event.seconds);
        break;
      case 'loaded':
        load.observe(event.seconds);
        if (event.evicted) evictions.inc();
        break;
      default:
        event satisfies never;
    }
  }

  const dispose = engine.subscribe(observe);
  return {
    text: async () => ({ type: registry.contentType, body: await registry.metrics() }),
    request: (route, code) => requests.inc({ route, code }),
    dispose,
  };
}
