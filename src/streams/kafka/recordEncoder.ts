// Encodes frames as records: a window of a batch's bytes at a time goes to WebAssembly, and comes back as
// records (assembly/recordEncoder.ts). The two copies cost a fifth of what moving each frame's bytes in
// JavaScript does: 100 B frames took 58 ns each there, and take 22 here.
import { PREFIX_BYTES, bodyLength } from '../../frames/frame.js';
import { type Encoded, type FrameRange, type Picked, RECORD_OVERHEAD_BYTES } from './recordBatch.js';
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
  readonly encodeHead: (at: number, out: number, index: number, delta: number) => number;
}

const WINDOW_AT = 1024;
const WINDOW_BYTES = 64 * 1024;
/** 8 bytes are moved at a time, so a little behind the end. */
const SLACK_BYTES = 8;
const OUT_AT = WINDOW_AT + WINDOW_BYTES + SLACK_BYTES;
/** Of two timestamps in one record batch, ms (24.8 days): what a varint of 32 bits holds. */
const LARGEST_DELTA = 0x7fffffff;

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
  readonly #outEnd: number;

  /** Use recordEncoder(). */
  constructor(compiled: Compiled) {
    this.#compiled = compiled;
    this.#heap = Buffer.from(compiled.memory.buffer);
    this.#results = new Uint32Array(compiled.memory.buffer, 0, 2);
    this.#outEnd = this.#heap.length - SLACK_BYTES;
  }

  /**
   * Encodes frames as records into `out` from `start`, until `maxFrames` are in or the next might not fit
   * before `limit`; at least one, for which `out` must have room (see `roomFor`).
   */
  encode(range: FrameRange, out: Buffer, start: number, limit: number, maxFrames: number): Encoded {
    const { batch, picked } = range;
    const { until, times } =
      range.timeMs === undefined ? batch.arrivals : { until: [Infinity], times: [range.timeMs] };
    const wanted = Math.min(range.count, maxFrames);
    let [at, pos, frames, frameBytes] = [range.at, start, 0, 0];
    // The arrival times: of which we are at, of the first frame, and how much later that of the last one is.
    let [mark, base, delta] = [0, 0, 0];
    let isFull = false;
    while (frames < wanted && !isFull) {
      const end =
        picked === undefined
          ? this.#loadRun(batch.bytes, at, batch.length)
          : this.#loadPicked(batch.bytes, picked, range.first + frames, range.first + wanted);
      // What a record batch may hold more, as an address: the window's records start at OUT_AT, and in `out`
      // at `pos`.
      const roomEnd = OUT_AT + Math.max(0, limit - pos);
      let [from, to] = [WINDOW_AT, OUT_AT];
      while (from < end && frames < wanted) {
        const next = range.first + frames;
        while ((picked?.indexes[next] ?? next) >= until[mark]!) mark++;
        if (frames === 0) base = times[mark]!;
        // A batch read back may span a long outage; what is too far from its first record goes into the next
        // record batch.
        const since = times[mark]! - base;
        if (since > LARGEST_DELTA) {
          isFull = true;
          break;
        }
        // The first one goes in however large it is.
        const most = frames === 0 ? 1 : framesBefore(until[mark]!, picked, next, range.first + wanted);
        to = this.#compiled.encode(
          from,
          end,
          to,
          frames === 0 ? this.#outEnd : Math.max(to, Math.min(this.#outEnd, roomEnd)),
          frames,
          since,
          most,
        );
        const encoded = this.#results[0]!;
        if (encoded > 0) delta = since;
        frames += encoded;
        from = this.#results[1]!;
        if (encoded === most) continue;
        isFull = this.#isWhole(from, end);
        break;
      }
      this.#heap.copy(out, pos, OUT_AT, to);
      pos += to - OUT_AT;
      if (from === WINDOW_AT && !isFull) {
        // A frame longer than the window.
        const longAt = picked?.offsets[range.first + frames] ?? at;
        const length = bodyLength(batch.bytes, longAt);
        if (frames > 0 && pos + length + RECORD_OVERHEAD_BYTES > limit) break;
        delta = times[mark]! - base;
        const headEnd = this.#compiled.encodeHead(WINDOW_AT, OUT_AT, frames, delta);
        pos += this.#heap.copy(out, pos, OUT_AT, headEnd);
        pos = copyMessage(batch.bytes, longAt, out, pos);
        frames++;
        from += PREFIX_BYTES + length;
      }
      frameBytes += from - WINDOW_AT;
      at += from - WINDOW_AT;
    }
    return {
      length: pos - start,
      frames,
      frameBytes,
      nextAt: at,
      firstTimestampMs: base,
      lastTimestampMs: base + delta,
    };
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

/** How many of the range's frames from `next` to `last` come before the batch's frame `end`. */
function framesBefore(end: number, picked: Picked | undefined, next: number, last: number): number {
  if (picked === undefined) return Math.min(end, last) - next;
  let i = next;
  while (i < last && picked.indexes[i]! < end) i++;
  return i - next;
}

/** The message of the frame at `at`, and that no headers follow it. Returns where the next record goes. */
function copyMessage(source: Buffer, at: number, out: Buffer, pos: number): number {
  const keyAt = at + 6 + source[at + 4]!;
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
