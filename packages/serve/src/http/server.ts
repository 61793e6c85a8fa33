import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { PeftError } from '@peftjs/core';
import type { Engine } from '../engine/types.js';
import { createApp } from './app.js';
import { createMetrics } from './metrics.js';

export interface ServerOptions {
  readonly engine: Engine;
  /** Largest body read, in bytes. Default 8 MiB. */
  readonly bodyLimit?: number;
  /** Told about faults of the server. Default: standard error. */
  readonly onFault?: (error: unknown) => void;
}

export interface Listening {
  readonly url: string;
  /** Takes no new connections, lets what runs finish, then frees the port. The engine stays. */
  close(): Promise<void>;
}

export interface PeftServer {
  /**
   * @param options port 0 (any free one) and 127.0.0.1 by default: opening the server to the network is a choice
   * @throws PeftError PORT_IN_USE
   */
  listen(options?: { port?: number; host?: string }): Promise<Listening>;
}

/** An OpenAI-compatible HTTP server over an engine. */
export function createServer({ engine, bodyLimit = 8 * 2 ** 20, onFault = console.error }: ServerOptions): PeftServer {
  return {
    async listen({ port = 0, host = '127.0.0.1' } = {}) {
      const metrics = createMetrics(engine);
      const app = createApp({ engine, metrics, bodyLimit, onFault });
      const server = createAdaptorServer({ fetch: app.fetch });
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen(port, host, resolve);
        });
      } catch (error) {
        metrics.dispose();
        throw listenError(error, host, port);
      }
      const address = server.address() as AddressInfo;
      const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      return {
        url: `http://${shown}:${address.port}`,
        async close() {
          // Connections that clients keep open end when their last answer is sent.
          const sweep = setInterval(() => 'closeIdleConnections' in server && server.closeIdleConnections(), 50);
          await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
          clearInterval(sweep);
          metrics.dispose();
        },
      };
    },
  };
}

function listenError(error: unknown, host: string, port: number): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error;
  const message = `Port ${port} of ${host} is in use. Choose another one, or 0 for any free one.`;
  return new PeftError('PORT_IN_USE', message, { details: { host, port }, cause: error });
}
