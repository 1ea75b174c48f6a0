// What `kahe top` shows, made from the last two looks: as lines, for a screen of any size or for none.
import type { Snapshot } from '../../stats/snapshot.js';
import type { Shown } from '../adminLink.js';
import { type Output, painted } from '../io.js';
import {
  BACKED_UP,
  BUCKET,
  QUEUED,
  STREAM,
  type StreamRow,
  modeColumn,
  problemText,
  rateColumn,
  readinessLines,
  rowsOf,
  shareText,
  titleOf,
} from '../streamRows.js';
import { roomOf, tableOf } from '../table.js';
import { cutToWidth, widthOf } from '../textWidth.js';
import { bytesText, counted, rateText } from '../units.js';

export const SORTS = ['rate', 'bytes', 'queue', 'name'] as const;
export type Sort = (typeof SORTS)[number];

/** The highest first. */
const WORTH: Readonly<Record<Exclude<Sort, 'name'>, (row: StreamRow) => number>> = {
  rate: ({ rates }) => (rates === undefined ? 0 : Math.max(rates.received, rates.delivered)),
  bytes: ({ rates }) => rates?.bytes ?? 0,
  queue: ({ stream: { account } }) => account.queued + account.backedUp,
};

export class TopView {
  sort: Sort;
  #now: Snapshot | undefined;
  #before: Snapshot | undefined;
  /** Why there is nothing new to be seen. */
  #missing: { readonly why: string; readonly sinceMs: number } | undefined;

  constructor(sort: Sort) {
    this.sort = sort;
  }

  /** It did not answer at the last look. */
  get isAway(): boolean {
    return this.#missing !== undefined;
  }

  /** @param shown undefined: it is just starting */
  take(shown: Shown | undefined): void {
    if (shown === undefined) return this.miss('the daemon is starting', Date.now());
    const { snapshot } = shown;
    this.#before = this.#now !== undefined && isSameLife(this.#now, snapshot) ? this.#now : undefined;
    this.#now = snapshot;
    this.#missing = undefined;
  }

  miss(why: string, nowMs: number): void {
    this.#missing = { why, sinceMs: this.#missing?.sinceMs ?? nowMs };
  }

  /** What stands above the table, none wider than the terminal. */
  head(out: Output): string[] {
    const away = this.#missing === undefined ? [] : [this.#awayLine(this.#missing, out)];
    const seen =
      this.#now === undefined
        ? []
        : [
            ...this.#summary(this.#now),
            ...(this.isAway ? [] : readinessLines(this.#now, out).slice(0, MOST_REASONS)),
          ];
    return [...seen, ...away].map((line) => fittedLine(line, out));
  }

  /** Its head, and a line for each stream. */
  table(out: Output): string[] {
    if (this.#now === undefined) return [];
    const rows = sorted(rowsOf(this.#now, this.#before), this.sort);
    return tableOf(
      [
        BUCKET,
        STREAM,
        modeColumn(out),
        rateColumn('IN/S', 'received'),
        rateColumn('OUT/S', 'delivered'),
        { ...rateColumn('BYTES/S', 'bytes'), spare: 1 },
        { ...QUEUED, spare: 2 },
        BACKED_UP,
        {
          head: 'LAST PROBLEM',
          side: 'left',
          text: problemText,
          atLeast: 12,
          spare: rows.some(({ stream }) => stream.lastProblem !== undefined) ? 0 : 9,
        },
      ],
      rows,
      roomOf(out),
    );
  }

  #summary(now: Snapshot): string[] {
    const rates = rowsOf(now, this.#before).map((row) => row.rates);
    const sum = (of: 'delivered' | 'bytes'): number =>
      rates.reduce((all, rate) => all + (rate?.[of] ?? 0), 0);
    const seconds = this.#before === undefined ? 0 : (now.takenAtMs - this.#before.takenAtMs) / 1000;
    const received =
      seconds > 0 ? `${rateText((now.socket.received - this.#before!.socket.received) / seconds)}/s` : '-';
    const flow =
      seconds > 0 ? `${rateText(sum('delivered'))}/s, ${bytesText(Math.round(sum('bytes')))}/s` : '-';
    const spool = now.spool === undefined ? '' : `   spool ${shareText(now.spool.bytes, now.spool.maxBytes)}`;
    return [
      titleOf(now),
      `in ${received}   out ${flow}   ${counted(now.socket.open, 'connection')}   memory ${shareText(now.memory.heldBytes, now.memory.limitBytes)}${spool}`,
    ];
  }

  #awayLine({ why, sinceMs }: { readonly why: string; readonly sinceMs: number }, out: Output): string {
    return painted(
      out,
      'red',
      `since ${new Date(sinceMs).toISOString().slice(11, 19)} UTC, tried again at each look: ${why}`,
    );
  }
}

const MOST_REASONS = 3;

/** A daemon that was started again counts from 0. */
function isSameLife(a: Snapshot, b: Snapshot): boolean {
  return a.program.pid === b.program.pid && a.startedAtMs === b.startedAtMs;
}

function sorted(rows: readonly StreamRow[], sort: Sort): StreamRow[] {
  if (sort === 'name')
    return [...rows].sort((a, b) => Number(a.bucket > b.bucket) - Number(a.bucket < b.bucket));
  const worth = WORTH[sort];
  return [...rows].sort((a, b) => worth(b) - worth(a));
}

/** A colour must not be cut in the middle: what is too wide loses it. */
function fittedLine(line: string, out: Output): string {
  const room = roomOf(out);
  return widthOf(line) <= room ? line : cutToWidth(line.replace(/\u001b\[\d*m/g, ''), room);
}
