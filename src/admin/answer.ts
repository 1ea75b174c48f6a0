// What the admin door answers, and the headers that every answer has.
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that goes on until one side ends it. */
export interface Stream {
  readonly type: string;
  /** Called once the head is written. */
  readonly start: (response: ServerResponse) => void;
}

export const TEXT = 'text/plain; charset=utf-8';

const HEADERS = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};

export function send(request: IncomingMessage, response: ServerResponse, answer: Answer | Stream): void {
  if ('start' in answer) {
    response.writeHead(200, { ...HEADERS, 'Content-Type': answer.type });
    response.flushHeaders();
    return answer.start(response);
  }
  const { status, type, body, headers } = answer;
  response.writeHead(status, {
    ...HEADERS,
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
