// Asks for receipts, one question at a time: a process with a connection of its own, that writes a frame and
// a question at once, waits for the answer, and notes how long that took. It waits for nothing else, so a
// late answer is Kahe's, or the machine's.
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from './clock.js';
import { Connection, QUESTION } from './connection.js';
import { makeWrites, type Payload, type Wire } from './payload.js';

export interface AskerOptions {
  readonly path: string;
  /**
   * From one question to the next; one whose time came before the answer to the last is asked right after it.
   */
  readonly everyMs: number;
  readonly seconds: number;
  readonly payload: Payload;
  readonly wire: Wire;
}

/** Sent to the parent: first when it is connected (who then says 'go'), then when its time is over. */
export type AskerReport =
  | { readonly kind: 'connected' }
  /** One wait for each question, from writing it to having read the answer. */
  | { readonly kind: 'done'; readonly waitsMs: readonly number[]; readonly wrongAnswers: readonly string[] };

async function askAll(
  connection: Connection,
  { everyMs, seconds, payload, wire }: AskerOptions,
): Promise<AskerReport> {
  const questions = makeWrites(payload, wire, 1).map((frame) => Buffer.concat([frame, QUESTION]));
  const waitsMs: number[] = [];
  const wrongAnswers: string[] = [];
  const startMs = monotonicMs();
  for (
    let dueMs = startMs;
    dueMs < startMs + seconds * 1000;
    dueMs = Math.max(dueMs + everyMs, monotonicMs())
  ) {
    const leftMs = dueMs - monotonicMs();
    if (leftMs > 0) await sleep(leftMs);
    const askedMs = monotonicMs();
    const answered = connection.answer();
    connection.write(questions[waitsMs.length % questions.length]!);
    const answer = await answered;
    waitsMs.push(monotonicMs() - askedMs);
    if (answer !== waitsMs.length) wrongAnswers.push(`${waitsMs.length} expected, ${answer} answered`);
    if (answer === undefined) break;
  }
  return { kind: 'done', waitsMs, wrongAnswers };
}

function report(message: AskerReport): void {
  process.send!(message);
}

const options = JSON.parse(process.argv[2]!) as AskerOptions;
const connection = await Connection.connect(options.path);
process.once('message', () => void askAll(connection, options).then(report));
process.once('disconnect', () => process.exit(0));
report({ kind: 'connected' });
