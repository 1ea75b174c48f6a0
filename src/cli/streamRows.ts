// The streams of a daemon's buckets, a row each, as `kahe status` and `kahe top` show them: with rates, which
// are what lies between two looks.
import { readinessOf } from '../stats/readiness.js';
import type { Snapshot, StreamSnapshot } from '../stats/snapshot.js';
import type { Column } from './table.js';
import { type Output, painted } from './io.js';
import { bytesText, countText, durationText, escaped, lineOf, rateText } from './units.js';

export interface StreamRow {
  readonly bucket: string;
  readonly stream: StreamSnapshot;
  /** In memory or on disk, of batches that are closed and not settled by every stream of the bucket. */
  readonly backlogBytes: number;
  /** Undefined: not known yet. */
  readonly rates: Rates | undefined;
  /** When this was so, ms since the epoch. */
  readonly nowMs: number;
}

/** A second. */
export interface Rates {
  readonly received: number;
  readonly delivered: number;
  /** Written to the stream itself and to its backup. */
  readonly bytes: number;
}

/**
 * @param before an earlier look at the same life of the daemon; `'start'`: rates since it began; undefined:
 * none are known
 */
export function rowsOf(now: Snapshot, before: Snapshot | 'start' | undefined): StreamRow[] {
  const seconds =
    before === undefined
      ? 0
      : (now.takenAtMs - (before === 'start' ? now.startedAtMs : before.takenAtMs)) / 1000;
  const earlier = new Map(
    before === undefined || before === 'start'
      ? []
      : before.buckets.flatMap(({ name, streams }) =>
          streams.map((stream) => [JSON.stringify([name, stream.id]), stream] as const),
        ),
  );
  return now.buckets.flatMap(({ name, streams, backlog }) =>
    streams.map((stream) => ({
      bucket: lineOf(Buffer.from(name)),
      stream,
      backlogBytes: Math.max(backlog.memoryBytes, backlog.diskBytes),
      rates:
        seconds > 0 ? ratesOf(stream, earlier.get(JSON.stringify([name, stream.id])), seconds) : undefined,
      nowMs: now.takenAtMs,
    })),
  );
}

/** @param before undefined: it was not there, and had nothing */
function ratesOf(now: StreamSnapshot, before: StreamSnapshot | undefined, seconds: number): Rates {
  const rate = (of: (stream: StreamSnapshot) => number): number =>
    Math.max(0, of(now) - (before === undefined ? 0 : of(before))) / seconds;
  return {
    received: rate(({ account }) => account.received),
    delivered: rate(({ account }) => account.delivered),
    bytes: rate(({ written: { primary, backup } }) => primary.bytes + backup.bytes),
  };
}

export const BUCKET: Column<StreamRow> = {
  head: 'BUCKET',
  side: 'left',
  text: ({ bucket }) => bucket,
  atLeast: 12,
};
export const STREAM: Column<StreamRow> = {
  head: 'STREAM',
  side: 'left',
  text: ({ stream }) => escaped(stream.id),
  atLeast: 8,
};
export const QUEUED: Column<StreamRow> = {
  head: 'QUEUED',
  side: 'right',
  text: ({ stream }) => countText(stream.account.queued),
};
export const BACKED_UP: Column<StreamRow> = {
  head: 'BACKED UP',
  side: 'right',
  text: ({ stream }) => countText(stream.account.backedUp),
  spare: 3,
};

/** `backup for 3m02s`: how long matters once it is not as it should be. */
export function modeColumn(output: Output): Column<StreamRow> {
  return {
    head: 'MODE',
    side: 'left',
    text: ({ stream: { mode, modeSinceMs, isAlive }, nowMs }) => {
      if (!isAlive) return 'ended';
      return mode === 'normal' ? mode : `${mode} for ${durationText(Math.max(0, nowMs - modeSinceMs))}`;
    },
    paint: (text, { stream: { mode, isAlive } }) =>
      isAlive && mode !== 'normal' ? painted(output, mode === 'error' ? 'red' : 'yellow', text) : text,
  };
}

export function rateColumn(head: string, rate: keyof Rates): Column<StreamRow> {
  const print = rate === 'bytes' ? (bytes: number) => bytesText(Math.round(bytes)) : rateText;
  return { head, side: 'right', text: ({ rates }) => (rates === undefined ? '-' : print(rates[rate])) };
}

/** `12s ago: …` */
export function problemText({ stream: { lastProblem }, nowMs }: StreamRow): string {
  return lastProblem === undefined
    ? ''
    : `${durationText(Math.max(0, nowMs - lastProblem.atMs))} ago: ${escaped(lastProblem.text)}`;
}

/** `ready`, with how many streams are in backup, or why it is not, a line each. */
export function readinessLines(snapshot: Snapshot, output: Output): string[] {
  const { state, text, reasons } = readinessOf(snapshot);
  if (state === 'error')
    return reasons.map((reason) => painted(output, 'red', `${text}: ${escaped(reason)}`));
  return [painted(output, state === 'backup' ? 'yellow' : 'green', text)];
}

export function titleOf({ program, startedAtMs, takenAtMs }: Snapshot): string {
  return `Kahe ${escaped(program.version)} on ${escaped(program.hostname)}, process ${program.pid}, up ${durationText(Math.max(0, takenAtMs - startedAtMs))}`;
}

/** `1.2 MB of 250 MB` */
export function shareText(bytes: number, limitBytes: number): string {
  return `${bytesText(bytes)} of ${bytesText(limitBytes)}`;
}
