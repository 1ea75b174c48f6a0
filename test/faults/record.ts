// What was seen of each fault, a JSON line each, from which table.ts makes the table of docs/reliability.md.
import { appendFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';

export interface FaultRecord {
  /** In words, as in the table: `broker kill -9`. */
  readonly fault: string;
  /** What stood between Kafka and loss: `no spool, no backup`, `spool`, `spool and backup`, … */
  readonly arrangement: string;
  readonly size: 'quick' | 'full';
  /** How often the fault happened. */
  readonly runs: number;
  readonly sent: number;
  readonly lost: number;
  readonly duplicated: number;
  /** Frames without a key that stand behind later ones: see Rules. */
  readonly keylessDisordered: number;
  /** The longest time from the end of the fault to the next delivery; undefined: not measured. */
  readonly recoverMs: number | undefined;
  readonly peakRssMb: number | undefined;
  /**
   * How late the daemon's event loop was, from its start to its end: a figure, never judged, for the machine
   * may be busy with the test itself.
   */
  readonly loopDelayP99Ms?: number | undefined;
  /** Anything that the reader of the table should know. */
  readonly note?: string;
}

export const RECORDS = path.resolve(import.meta.dirname, '../../.cache/test/faults.jsonl');

export function appendRecord(record: FaultRecord): void {
  mkdirSync(path.dirname(RECORDS), { recursive: true });
  appendFileSync(RECORDS, `${JSON.stringify(record)}\n`);
}
