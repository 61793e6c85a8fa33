import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { routePath } from 'hono/route';
import type { Engine } from '../engine/types.js';
import { ApiFailure } from './body.js';
import { completionRoutes } from './completions.js';
import { type ApiError, bodyTooLarge, toApiError, unknownRoute } from './errors.js';
import type { Metrics } from './metrics.js';
import { modelRoutes } from './models.js';
import { readingRoutes } from './reading.js';

export interface AppOptions {
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly bodyLimit: number;
  /** Told about faults of the server: what a client gets to see has no details. */
  readonly onFault: (error: unknown) => void;
}

function fail(c: Context, { status, body, retryAfter }: ApiError): Response {
  if (retryAfter !== undefined) c.header('Retry-After', String(retryAfter));
  return c.json(body, status);
}

/** All routes of the server over an engine. */
export function createApp({ engine, metrics, bodyLimit: maxSize, onFault }: AppOptions): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    metrics.request(routePath(c, -1), c.res.status);
  });
  app.use('/v1/*', bodyLimit({ maxSize, onError: (c) => fail(c, bodyTooLarge(maxSize)) }));

  modelRoutes(app, engine);
  completionRoutes(app, engine);
  readingRoutes(app, engine);
  app.get('/health/live', (c) => c.json({ status: 'ok' }));
  app.get('/health/ready', (c) => {
    const { ready } = engine.state();
    return c.json({ status: ready ? 'ok' : 'unavailable' }, ready ? 200 : 503);
  });
  app.get('/metrics', async (c) => {
    const { type, body } = await metrics.text();
    return c.body(body, 200, { 'Content-Type': type });
  });

  app.notFound((c) => fail(c, unknownRoute(c.req.method, c.req.path)));
  app.onError((error, c) => {
    if (error instanceof ApiFailure) return fail(c, error.answer);
    const answer = toApiError(error);
    if (answer.status === 500) onFault(error);
    return fail(c, answer);
  });
  return app;
}
