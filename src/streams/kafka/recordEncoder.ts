// Encodes frames as records: a window of a batch's bytes at a time goes to WebAssembly, and comes back as
// records (assembly/recordEncoder.ts). The two copies cost a fifth of what moving each frame's bytes in
// JavaScript does: 100 B frames took 58 ns each there, and take 22 here.
import { PREFIX_BYTES, bodyLength, plainKeyAt } from '../../frames/frame.js';
import { ownTimeOf, putLongRecord } from './longRecord.js';
import { type Encoded, type FrameRange, type Picked, overheadOf, startOf } from './recordBatch.js';
import { RECORD_ENCODER_CODE } from './recordEncoderCode.js';

/** Addresses are numbers; see the source for what each function does. */
interface Compiled {
  readonly memory: { readonly buffer: ArrayBuffer };
  // eslint-disable-next-line max-params -- numbers are all that it takes
  readonly encode: (
    at: number,
    end: number,
    out: number,
    outEnd: number,
    index: number,
    delta: number,
    most: number,
  ) => number;
  // eslint-disable-next-line max-params -- numbers are all that it takes
  readonly encodeMixed: (
    at: number,
    end: number,
    out: number,
    outEnd: number,
    index: number,
    most: number,
  ) => number;
  readonly encodeHead: (at: number, out: number, index: number, delta: number) => number;
}

const WINDOW_AT = 1024;
const WINDOW_BYTES = 64 * 1024;
/** 8 bytes are moved at a time, so a little behind the end. */
const SLACK_BYTES = 8;
const OUT_AT = WINDOW_AT + WINDOW_BYTES + SLACK_BYTES;
/** Where encodeMixed has its times, and counts those that frames bring. */
const TIMES_AT = 8;
const OWN_TIMES_AT = 32;
/** Of two times of arrival in one record batch, ms (24.8 days): what a varint of 32 bits holds. */
const LARGEST_DELTA = 0x7fffffff;

/** How far one record batch has come. */
interface Run {
  readonly range: FrameRange;
  readonly wanted: number;
  readonly out: Buffer;
  readonly limit: number;
  /** Frames before `until[i]` came at `times[i]`. */
  readonly until: readonly number[];
  readonly times: readonly number[];
  /** There may be full frames. */
  readonly isMixed: boolean;
  /** Where the next frame starts, and where its record goes. */
  at: number;
  pos: number;
  frames: number;
  frameBytes: number;
  /** The index of the next frame's time. */
  mark: number;
  /** The first frame's time, and how much later the latest one's is. */
  baseMs: number;
  deltaMs: number;
  /** Frames with a time of their own. */
  ownTimes: number;
  isFull: boolean;
}

let shared: RecordEncoder | undefined;

/** One for the process: it encodes in one go, and keeps nothing. @throws Error that says what it lacks */
export function recordEncoder(): RecordEncoder {
  return (shared ??= new RecordEncoder(instantiate(Buffer.from(RECORD_ENCODER_CODE, 'base64'))));
}

export class RecordEncoder {
  readonly #compiled: Compiled;
  readonly #heap: Buffer;
  /** Frames encoded, and where the next one starts. */
  readonly #results: Uint32Array;
  /** Of encodeMixed: the record batch's first time, the time of arrival, the greatest time. */
  readonly #times: Float64Array;
  readonly #ownTimes: Uint32Array;
  readonly #outEnd: number;

  /** Use recordEncoder(). */
  constructor(compiled: Compiled) {
    this.#compiled = compiled;
    this.#heap = Buffer.from(compiled.memory.buffer);
    this.#results = new Uint32Array(compiled.memory.buffer, 0, 2);
    this.#times = new Float64Array(compiled.memory.buffer, TIMES_AT, 3);
    this.#ownTimes = new Uint32Array(compiled.memory.buffer, OWN_TIMES_AT, 1);
    this.#outEnd = this.#heap.length - SLACK_BYTES;
  }

  /**
   * Encodes frames as records into `out` from `start`, until `maxFrames` are in or the next might not fit
   * before `limit`; at least one, for which `out` must have room (see `roomFor`).
   */
  encode(range: FrameRange, out: Buffer, start: number, limit: number, maxFrames: number): Encoded {
    const wanted = Math.min(range.count, maxFrames);
    const run = newRun(range, wanted, out, start, limit);
    while (run.frames < wanted && !run.isFull) {
      const inWindow = this.#encodeWindow(run);
      const bytes = inWindow > 0 ? inWindow : this.#encodeLong(run);
      run.frameBytes += bytes;
      run.at += bytes;
    }
    return {
      length: run.pos - start,
      frames: run.frames,
      frameBytes: run.frameBytes,
      nextAt: run.at,
      firstTimestampMs: run.baseMs,
      lastTimestampMs: run.baseMs + run.deltaMs,
      ownTimes: run.ownTimes,
    };
  }

  /** Encodes the frames that one window holds. Returns how long they are together. */
  #encodeWindow(run: Run): number {
    const end = this.#load(run);
    // What a record batch may hold more, as an address: the window's records start at OUT_AT, and in `out` at
    // `pos`.
    const outEnd = Math.min(this.#outEnd, OUT_AT + Math.max(0, run.limit - run.pos));
    let [from, to] = [WINDOW_AT, OUT_AT];
    while (from < end && run.frames < run.wanted) {
      const since = arrivedSinceFirst(run);
      // A batch read back may span a long outage; what is too far from its first record goes into the next
      // record batch.
      if (since > LARGEST_DELTA && !run.isMixed) {
        run.isFull = true;
        break;
      }
      // The first one goes in however large it is.
      const most = run.frames === 0 ? 1 : framesOfOneTime(run);
      const room = run.frames === 0 ? this.#outEnd : Math.max(to, outEnd);
      to = run.isMixed
        ? this.#encodeMixed(run, { from, end, to, room, since, most })
        : this.#compiled.encode(from, end, to, room, run.frames, since, most);
      const encoded = this.#results[0]!;
      if (encoded > 0 && !run.isMixed) run.deltaMs = since;
      run.frames += encoded;
      from = this.#results[1]!;
      if (encoded === most) continue;
      run.isFull = this.#isWhole(from, end);
      break;
    }
    this.#heap.copy(run.out, run.pos, OUT_AT, to);
    run.pos += to - OUT_AT;
    return from - WINDOW_AT;
  }

  #encodeMixed(run: Run, { from, end, to, room, since, most }: MixedWindow): number {
    const times = this.#times;
    times[0] = run.baseMs;
    times[1] = run.baseMs + since;
    times[2] = run.baseMs + run.deltaMs;
    this.#ownTimes[0] = run.ownTimes;
    const next = this.#compiled.encodeMixed(from, end, to, room, run.frames, most);
    run.deltaMs = times[2] - run.baseMs;
    run.ownTimes = this.#ownTimes[0]!;
    return next;
  }

  /** Encodes the next frame, which is longer than the window. Returns its length; 0: there is no room. */
  #encodeLong(run: Run): number {
    if (run.isFull) return 0;
    const { range, out } = run;
    const source = range.batch.bytes;
    const at = range.picked?.offsets[range.first + run.frames] ?? run.at;
    const length = bodyLength(source, at);
    if (run.frames > 0 && run.pos + length + overheadOf(length) > run.limit) {
      run.isFull = true;
      return 0;
    }
    if (run.isMixed) return this.#encodeLongMixed(run, at);
    run.deltaMs = run.times[run.mark]! - run.baseMs;
    const headEnd = this.#compiled.encodeHead(WINDOW_AT, OUT_AT, run.frames, run.deltaMs);
    run.pos += this.#heap.copy(out, run.pos, OUT_AT, headEnd);
    run.pos = copyMessage(source, at, out, run.pos);
    run.frames++;
    return PREFIX_BYTES + length;
  }

  #encodeLongMixed(run: Run, at: number): number {
    const source = run.range.batch.bytes;
    const own = ownTimeOf(source, at);
    const timeMs = own ?? run.times[run.mark]!;
    if (own !== undefined) run.ownTimes++;
    run.deltaMs = Math.max(run.deltaMs, timeMs - run.baseMs);
    const place = { index: run.frames, deltaMs: timeMs - run.baseMs };
    run.pos = putLongRecord(source, at, place, { bytes: run.out, at: run.pos });
    run.frames++;
    return PREFIX_BYTES + bodyLength(source, at);
  }

  /** Fills the window with what comes next. Returns where it ends. */
  #load({ range: { batch, picked, first }, at, frames, wanted }: Run): number {
    return picked === undefined
      ? this.#loadRun(batch.bytes, at, batch.length)
      : this.#loadPicked(batch.bytes, picked, first + frames, first + wanted);
  }

  /** Fills the window with what lies from `at` on; the last frame may be cut. Returns where it ends. */
  #loadRun(source: Buffer, at: number, end: number): number {
    return WINDOW_AT + source.copy(this.#heap, WINDOW_AT, at, Math.min(end, at + WINDOW_BYTES));
  }

  /**
   * Fills the window with whole picked frames, from `first` to `last`; of one that is longer than the window,
   * with what fits.
   */
  #loadPicked(source: Buffer, { offsets }: Picked, first: number, last: number): number {
    let end = WINDOW_AT;
    for (let i = first; i < last; i++) {
      const at = offsets[i]!;
      const bytes = PREFIX_BYTES + bodyLength(source, at);
      if (end + bytes > WINDOW_AT + WINDOW_BYTES)
        return end === WINDOW_AT ? this.#loadRun(source, at, at + bytes) : end;
      source.copy(this.#heap, end, at, at + bytes);
      end += bytes;
    }
    return end;
  }

  #isWhole(at: number, end: number): boolean {
    return at + PREFIX_BYTES <= end && at + PREFIX_BYTES + bodyLength(this.#heap, at) <= end;
  }
}

function newRun(range: FrameRange, wanted: number, out: Buffer, pos: number, limit: number): Run {
  const { until, times } =
    range.timeMs === undefined ? range.batch.arrivals : { until: [Infinity], times: [range.timeMs] };
  return {
    range,
    wanted,
    out,
    limit,
    until,
    times,
    isMixed: range.batch.hasFull,
    at: range.at,
    pos,
    frames: 0,
    frameBytes: 0,
    mark: 0,
    baseMs: 0,
    deltaMs: 0,
    ownTimes: 0,
    isFull: false,
  };
}

interface MixedWindow {
  readonly from: number;
  readonly end: number;
  readonly to: number;
  readonly room: number;
  readonly since: number;
  readonly most: number;
}

/** How much later than the first frame's time the next one came, ms. */
function arrivedSinceFirst(run: Run): number {
  const { picked, first, batch } = run.range;
  const next = first + run.frames;
  while ((picked?.indexes[next] ?? next) >= run.until[run.mark]!) run.mark++;
  const timeMs = run.times[run.mark]!;
  if (run.frames === 0)
    run.baseMs = (run.isMixed ? ownTimeOf(batch.bytes, startOf(run.range)) : undefined) ?? timeMs;
  return timeMs - run.baseMs;
}

/** How many of the frames that are left came at the time of the next one. */
function framesOfOneTime({ range: { picked, first }, frames, wanted, until, mark }: Run): number {
  const [next, last, end] = [first + frames, first + wanted, until[mark]!];
  if (picked === undefined) return Math.min(end, last) - next;
  let i = next;
  while (i < last && picked.indexes[i]! < end) i++;
  return i - next;
}

/** The message of the frame at `at`, and that no headers follow it. Returns where the next record goes. */
function copyMessage(source: Buffer, at: number, out: Buffer, pos: number): number {
  const keyAt = plainKeyAt(source, at);
  const messageAt = keyAt + source[keyAt - 1]!;
  const end = pos + source.copy(out, pos, messageAt, at + PREFIX_BYTES + bodyLength(source, at));
  out[end] = 0;
  return end + 1;
}

/** Synchronously: it is one kilobyte. */
function instantiate(code: Buffer): Compiled {
  const { WebAssembly } = globalThis as unknown as WithWebAssembly;
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
  } catch (error) {
    throw new Error(
      `records for Kafka can't be encoded: ${String(error)}; it takes WebAssembly, and some 10 GB of addresses (not of memory): raise LimitAS= or ulimit -v`,
      { cause: error },
    );
  }
}

/** Node's types know it only with those of a browser. */
interface WithWebAssembly {
  readonly WebAssembly: {
    readonly Module: new (code: Buffer) => object;
    readonly Instance: new (module: object) => { readonly exports: Compiled };
  };
}
