// A flood of lines becomes a few and a count. Promise: a kind of event that was not there just now is said at
// once, nothing is kept back for longer than the window, each line that is kept back is counted once, and
// what a client invents doesn't make this grow.
//
// Lines are of one kind when they differ only in numbers, in quoted names and in which bucket or client says
// them; of one place when those names are the same too. So all of 30 buckets say that they go to their
// backup, and 10,000 clients that write nonsense make ten lines.
import type { Clock, Timer } from '../clock.js';
import { LOG_LEVELS, type LogEntry, type LogLevel, type LogWriter } from './log.js';

const WINDOW_MS = 10_000;
/** Of one place, and of one kind, in a window. */
const MOST_OF_PLACE = 10;
const MOST_OF_KIND = 100;
const MOST_KINDS = 500;
/** A kind is known by so much of its text. */
const COMPARED_LENGTH = 400;

const QUOTED = /"(?:[^"\\]|\\.)*"/g;
const CLIENT = /\/client\.\d+/;

interface Kind {
  readonly sinceMs: number;
  readonly timer: Timer;
  readonly likeness: string;
  /** Lines said, by place: no more than MOST_OF_KIND in all. */
  readonly places: Map<string, number>;
  said: number;
  held: number;
  /** Of those held; the path is a pattern when they differ in it. */
  last: LogEntry | undefined;
}

export class Floods implements LogWriter {
  readonly #out: LogWriter;
  readonly #clock: Clock;
  readonly #kinds = new Map<string, Kind>();

  constructor(out: LogWriter, clock: Clock) {
    this.#out = out;
    this.#clock = clock;
  }

  write(entry: LogEntry): void {
    const kind = isFoldable(entry) ? this.#kindOf(entry) : undefined;
    if (kind === undefined || mayPass(kind, placeOf(entry))) this.#out.write(entry);
    else hold(kind, entry);
  }

  /** Says what is kept back. */
  flush(): void {
    for (const key of [...this.#kinds.keys()]) this.#end(key);
  }

  /** undefined: it can't be remembered, and is too grave to be one of many. */
  #kindOf(entry: LogEntry): Kind | undefined {
    const key = kindOf(entry);
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    if (this.#kinds.size < MOST_KINDS) return this.#begin(key, 'like this', entry.timeMs);
    if (rank(entry.level) >= rank('ERROR')) return undefined;
    return this.#kinds.get(entry.level) ?? this.#begin(entry.level, 'of many kinds', entry.timeMs);
  }

  #begin(key: string, likeness: string, sinceMs: number): Kind {
    const timer = this.#clock.after(WINDOW_MS, () => this.#end(key));
    const kind = {
      sinceMs,
      timer,
      likeness,
      places: new Map<string, number>(),
      said: 0,
      held: 0,
      last: undefined,
    };
    this.#kinds.set(key, kind);
    return kind;
  }

  #end(key: string): void {
    const { timer, last, held, likeness, sinceMs } = this.#kinds.get(key)!;
    this.#kinds.delete(key);
    timer.cancel();
    if (last === undefined) return;
    const timeMs = this.#clock.now();
    const seconds = Math.max(1, Math.round((timeMs - sinceMs) / 1000));
    this.#out.write({
      ...last,
      timeMs,
      folded: held,
      text: `… and ${held} more ${likeness} in the last ${seconds} s: ${last.text}`,
    });
  }
}

/** With TRACE or DEBUG each line is wanted. */
function isFoldable({ level, isUnfolded }: LogEntry): boolean {
  return !isUnfolded && rank(level) >= rank('INFO');
}

function mayPass(kind: Kind, place: string): boolean {
  const said = kind.places.get(place) ?? 0;
  if (said >= MOST_OF_PLACE || kind.said >= MOST_OF_KIND) return false;
  kind.places.set(place, said + 1);
  kind.said++;
  return true;
}

function hold(kind: Kind, entry: LogEntry): void {
  const isElsewhere = kind.last !== undefined && kind.last.path !== entry.path;
  kind.held++;
  kind.last = isElsewhere ? { ...entry, path: pathPattern(entry.path) } : entry;
}

function kindOf({ level, path, text }: LogEntry): string {
  const pattern = text
    .slice(0, COMPARED_LENGTH)
    .replace(QUOTED, '"*"')
    .replace(/(?<=^|\s)\/\S+/g, '*')
    .replace(/\b(?:(?=[a-f]*\d)[\da-f]+|[a-f]{8,})\b/g, '#')
    .replace(/\d+/g, '#');
  return `${level} ${pathPattern(path)} ${pattern}`;
}

/** Numbers of connections tell nobody anything; names of buckets do. */
function placeOf({ path, text }: LogEntry): string {
  const names = text.slice(0, COMPARED_LENGTH).match(QUOTED) ?? [];
  return [path.replace(CLIENT, '/client.*'), ...names].join(' ');
}

function pathPattern(path: string): string {
  return path.replace(CLIENT, '/client.*').replace(/^\/bucket\.[^/]*/, '/bucket.*');
}

function rank(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level);
}
