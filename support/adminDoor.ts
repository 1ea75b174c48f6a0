// Asks the admin door of a daemon, over its port or its Unix socket.
import http from 'node:http';
import type { Snapshot } from '../src/stats/snapshot.js';

export interface AdminAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** @param door a port of 127.0.0.1, or the path of a socket */
export function askAdmin(
  door: number | string,
  path: string,
  options: http.RequestOptions & { readonly body?: string } = {},
): Promise<AdminAnswer> {
  const place = typeof door === 'number' ? { host: '127.0.0.1', port: door } : { socketPath: door };
  return new Promise((resolve, reject) => {
    const request = http.request(
      { ...place, path, agent: false, timeout: 10_000, ...options },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            body: Buffer.concat(pieces).toString(),
          }),
        );
      },
    );
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error(`${path} was not answered`)));
    request.end(options.body);
  });
}

export async function statusOf(door: number | string): Promise<Snapshot> {
  const { status, body } = await askAdmin(door, '/status.json');
  if (status !== 200) throw new Error(`status.json: ${status} ${body}`);
  return JSON.parse(body) as Snapshot;
}

/** By `name{label="value",…}`, as it stands there. @throws Error for a line that is none of the format */
export function parseMetrics(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) [a-z_0-9]+ /.test(line)) continue;
    const [, series, value] =
      /^([a-zA-Z_:][\w:]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (\S+)$/.exec(line) ?? [];
    if (series === undefined || Number.isNaN(Number(value))) throw new Error(`no metric: ${line}`);
    if (values.has(series)) throw new Error(`twice: ${series}`);
    values.set(series, Number(value));
  }
  return values;
}

export async function metricsOf(door: number | string): Promise<Map<string, number>> {
  return parseMetrics((await askAdmin(door, '/metrics')).body);
}

/** Every account of a snapshot adds up. @throws Error for one that does not */
export function checkAccounts(snapshot: Snapshot): void {
  for (const { name, streams } of snapshot.buckets) {
    for (const {
      id,
      account: { received, ...ends },
    } of streams) {
      const sum = Object.values(ends).reduce((a, b) => a + b, 0);
      if (sum !== received || Object.values(ends).some((frames) => frames < 0))
        throw new Error(`the account of ${name}/${id} does not add up: ${received}, ${JSON.stringify(ends)}`);
    }
  }
}
