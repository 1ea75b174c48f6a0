// The admin door (ADMIN): metrics, health and a status page over HTTP, to be read and no more. Nothing that
// is asked here can take the daemon down, nor does the daemon wait for it when it ends.
import { asBug } from '../errors.js';
import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { isIP } from 'node:net';
import type { Taps } from '../buckets/taps.js';
import type { Log } from '../log/log.js';
import { type Answer, type Stream, TEXT, send } from './answer.js';
import { Metrics } from '../stats/metrics/metrics.js';
import { PAGE, PAGE_POLICY } from './page/page.js';
import { readinessOf, reasonsNotReady } from '../stats/readiness.js';
import type { Snapshot } from '../stats/snapshot.js';
import { NOT_ON_A_PORT, TAIL_PATH, type Tails } from './tail/tails.js';

/** The daemon, as far as it can be seen through the door. */
export interface Shown {
  readonly snapshot: () => Snapshot;
  readonly taps: Taps;
}

export interface AdminServerOptions {
  /**
   * The host as configured when it is a loopback one: then only requests that were meant for this machine are
   * answered.
   */
  readonly loopbackHost: string | undefined;
  /** Undefined: it is no place to show frames. */
  readonly tails: Tails | undefined;
  readonly log: Log;
}

const REQUEST_TIMEOUT_MS = 5_000;
/** Of a connection that neither asks nor reads. */
const IDLE_TIMEOUT_MS = 10_000;
const MOST_CONNECTIONS = 64;
const MOST_HEADER_BYTES = 8 * 1024;

export class AdminServer {
  readonly #options: AdminServerOptions;
  /** It does not listen yet: see place.ts. */
  readonly http: HttpServer;
  readonly #metrics = new Metrics();
  #shown: Shown | undefined;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.http = createServer(
      {
        maxHeaderSize: MOST_HEADER_BYTES,
        headersTimeout: REQUEST_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: IDLE_TIMEOUT_MS,
        connectionsCheckingInterval: 1_000,
      },
      (request, response) => void this.#onRequest(request, response),
    );
    this.http.timeout = IDLE_TIMEOUT_MS;
    // A client that sends no HTTP, or leaves in the middle of it, concerns nobody.
    this.http.on('clientError', (_error, socket) => socket.destroy());
    this.http.maxConnections = MOST_CONNECTIONS;
  }

  /** From now on there is a daemon to be seen. */
  show(shown: Shown): void {
    this.#shown = shown;
  }

  /** At once, whoever is still reading. Where it listens is not its own concern. */
  close(): void {
    this.http.closeAllConnections();
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      send(request, response, await this.#answer(request));
    } catch (error) {
      this.#options.log.error(`${request.url ?? ''} failed: ${asBug(error)}`, { reason: String(error) });
      if (!response.headersSent)
        send(request, response, { status: 500, type: TEXT, body: 'a bug in Kahe: see its log\n' });
    }
  }

  async #answer(request: IncomingMessage): Promise<Answer | Stream> {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return {
        status: 405,
        type: TEXT,
        body: 'GET only\n',
        headers: { Allow: 'GET, HEAD', Connection: 'close' },
      };
    if (hasBody(request))
      return {
        status: 400,
        type: TEXT,
        body: 'a GET with a body is not taken\n',
        headers: { Connection: 'close' },
      };
    if (!isMeantForUs(request, this.#options.loopbackHost)) return NOT_FOR_US;
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path.startsWith(TAIL_PATH)) return this.#tail(request);
    switch (path) {
      case '/':
        return {
          status: 200,
          type: 'text/html; charset=utf-8',
          body: PAGE,
          headers: { 'Content-Security-Policy': PAGE_POLICY },
        };
      case '/healthz':
        return { status: 200, type: TEXT, body: 'ok\n' };
      case '/readyz':
        return this.#readiness();
      case '/status.json':
        return this.#see((snapshot) => ({
          status: 200,
          type: 'application/json',
          body: JSON.stringify({ ...snapshot, readiness: readinessOf(snapshot) }),
        }));
      case '/metrics':
        return this.#see(async (snapshot) => ({
          status: 200,
          type: this.#metrics.contentType,
          body: await this.#metrics.text(snapshot),
        }));
      default:
        return {
          status: 404,
          type: TEXT,
          body: 'here are: /  /metrics  /healthz  /readyz  /status.json  /tail/BUCKET\n',
        };
    }
  }

  #readiness(): Answer {
    const reasons = this.#shown === undefined ? ['starting'] : reasonsNotReady(this.#shown.snapshot());
    return reasons.length === 0
      ? { status: 200, type: TEXT, body: 'ready\n' }
      : { status: 503, type: TEXT, body: `${reasons.join('\n')}\n` };
  }

  #see(answer: (snapshot: Snapshot) => Answer | Promise<Answer>): Answer | Promise<Answer> {
    return this.#shown === undefined ? STARTING : answer(this.#shown.snapshot());
  }

  #tail(request: IncomingMessage): Answer | Stream {
    const { tails } = this.#options;
    if (tails === undefined) return NOT_ON_A_PORT;
    // A socket that is forwarded to somebody's machine is on a port there.
    if (!isMeantForUs(request, 'localhost')) return NOT_FOR_US;
    return this.#shown === undefined ? STARTING : tails.answer(request, this.#shown.taps);
  }
}

const STARTING: Answer = { status: 503, type: TEXT, body: 'starting\n' };
const NOT_FOR_US: Answer = {
  status: 403,
  type: TEXT,
  body: 'ADMIN is for this machine alone: ask for localhost, 127.0.0.1 or the name that ADMIN has\n',
};

/**
 * A page somewhere in the net may give its own name this machine's address, and so read us with a visitor's
 * browser: its requests carry that name.
 */
function isMeantForUs({ headers }: IncomingMessage, loopbackHost: string | undefined): boolean {
  if (loopbackHost === undefined || headers.host === undefined) return true;
  const host = headers.host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return host === 'localhost' || host === loopbackHost.toLowerCase() || isIP(host) !== 0;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
