import type { Hono } from 'hono';
import type { AdapterInfo, Engine } from '../engine/types.js';
import { selectAdapter } from './select.js';

function base(engine: Engine) {
  return {
    id: engine.name,
    object: 'model',
    created: engine.created,
    owned_by: 'peftjs',
    root: engine.name,
    parent: null,
  };
}

function adapted(engine: Engine, { name, created, method, rank, digest, generation, state }: AdapterInfo) {
  return {
    id: name,
    object: 'model',
    created,
    owned_by: 'peftjs',
    root: engine.name,
    parent: engine.name,
    adapter: { method: method ?? null, rank, digest, generation, state },
  };
}

export function modelRoutes(app: Hono, engine: Engine): void {
  app.get('/v1/models', (c) => {
    const served = engine.adapters.list().filter((adapter) => adapter.state !== 'draining');
    return c.json({ object: 'list', data: [base(engine), ...served.map((adapter) => adapted(engine, adapter))] });
  });
  // Names of bases may hold slashes (`organisation/model`).
  app.get('/v1/models/:id{.+}', (c) => {
    const adapter = selectAdapter(engine, c.req.param('id'));
    return c.json(adapter ? adapted(engine, adapter) : base(engine));
  });
}
