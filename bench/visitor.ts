// Visits, as PHP-FPM workers without persistent connections make them: connect, write one frame, close, again
// and again, in some rows beside each other. Nobody waits for the close.
import { performance } from 'node:perf_hooks';
import { Connection } from './connection.js';
import { makeWrites, type Payload, type Wire } from './payload.js';
import type { Finish } from './sender.js';

export interface VisitorOptions {
  readonly path: string;
  readonly visits: number;
  readonly rows: number;
  readonly payload: Payload;
  readonly wire: Wire;
  readonly finish: Finish;
}

/**
 * Sent to the parent: when it may say 'go', then when the last visit was taken, or, where nobody answers,
 * made.
 */
export type VisitorReport = { readonly kind: 'ready' } | { readonly kind: 'done'; readonly seconds: number };

const options = JSON.parse(process.argv[2]!) as VisitorOptions;
const writes = makeWrites(options.payload, options.wire, 1);

async function visitAgainAndAgain(visits: number): Promise<void> {
  for (let i = 0; i < visits; i++) {
    const connection = await Connection.connect(options.path);
    connection.write(writes[i % writes.length]!);
    connection.end();
  }
}

/** Connections are taken in their order, so when this one has its answer all were. */
async function last(): Promise<void> {
  const connection = await Connection.connect(options.path);
  const answer = options.finish === 'receipt' ? connection.ask() : connection.answer();
  connection.end();
  if (options.finish !== 'silent') await answer;
}

function report(message: VisitorReport): void {
  process.send!(message);
}

process.once('message', () => {
  const startMs = performance.now();
  void Promise.all(
    Array.from({ length: options.rows }, () => visitAgainAndAgain(options.visits / options.rows)),
  )
    .then(last)
    .then(() => {
      report({ kind: 'done', seconds: (performance.now() - startMs) / 1000 });
      process.disconnect();
    });
});
process.once('disconnect', () => process.exit(0));
report({ kind: 'ready' });
