// An admin door that answers what a test tells it to. Promise: it is gone after the test.
import { type RequestListener, createServer } from 'node:http';
import { onTestFinished } from 'vitest';
import type { Snapshot } from '../src/stats/snapshot.js';

/** @param place the path of a socket, or a port of 127.0.0.1 */
export async function openFakeDoor(place: string | number, answer: RequestListener): Promise<() => void> {
  const server = createServer(answer);
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  await new Promise<void>((resolve) =>
    typeof place === 'string' ? server.listen(place, resolve) : server.listen(place, '127.0.0.1', resolve),
  );
  onTestFinished(close);
  return close;
}

/** Answers `/status.json` with the next of these; the last one again and again. */
export function showing(...snapshots: readonly Snapshot[]): RequestListener {
  let asked = 0;
  return (_request, response) =>
    response.end(JSON.stringify(snapshots[Math.min(asked++, snapshots.length - 1)]));
}
