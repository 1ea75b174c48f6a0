// Encodes frames as records: a window of a batch's bytes at a time goes to WebAssembly, and comes back as records (assembly/recordEncoder.ts).
// The two copies cost a fifth of what moving each frame's bytes in JavaScript does: 100 B frames took 58 ns each there, and take 18 here.
import { PREFIX_BYTES, bodyLength } from '../../frames/frame.js';
import { type Encoded, type FrameRange, type Picked, RECORD_OVERHEAD_BYTES } from './recordBatch.js';
import { RECORD_ENCODER_CODE } from './recordEncoderCode.js';

/** Addresses are numbers; see the source for what each function does. */
interface RecordEncoder {
  readonly memory: { readonly buffer: ArrayBuffer };
  // eslint-disable-next-line max-params -- numbers are all that it takes
  readonly encode: (at: number, end: number, out: number, outEnd: number, index: number, delta: number, most: number) => number;
  readonly encodeHead: (at: number, out: number, index: number, delta: number) => number;
}

const { memory, encode, encodeHead } = instantiate(Buffer.from(RECORD_ENCODER_CODE, 'base64'));
const heap = Buffer.from(memory.buffer);
/** Frames encoded, and where the next one starts. */
const results = new Uint32Array(memory.buffer, 0, 2);

const WINDOW_AT = 1024;
const WINDOW_BYTES = 64 * 1024;
/** It moves 16 bytes at a time, so a little behind the end. */
const SLACK_BYTES = 16;
const OUT_AT = WINDOW_AT + WINDOW_BYTES + SLACK_BYTES;
const OUT_END = heap.length - SLACK_BYTES;
/** Of two timestamps in one record batch, ms (24.8 days): what a varint of 32 bits holds. */
const LARGEST_DELTA = 0x7fffffff;

/**
 * Encodes frames as records into `out` from `start`, until `maxFrames` are in or the next might not fit before `limit`;
 * at least one, for which `out` must have room (see `roomFor`).
 */
export function encodeRecords(range: FrameRange, out: Buffer, start: number, limit: number, maxFrames: number): Encoded {
  const { batch, picked } = range;
  const { until, times } = batch.arrivals;
  const wanted = Math.min(range.count, maxFrames);
  let [at, pos, frames, frameBytes] = [range.at, start, 0, 0];
  // The arrival times: of which we are at, of the first frame, and how much later that of the last one is.
  let [mark, base, delta] = [0, 0, 0];
  let isFull = false;
  while (frames < wanted && !isFull) {
    const end = picked === undefined ? loadRun(batch.bytes, at, batch.length) : loadPicked(batch.bytes, picked, range.first + frames, range.first + wanted);
    // What a record batch may hold more, as an address: the window's records start at OUT_AT, and in `out` at `pos`.
    const roomEnd = OUT_AT + Math.max(0, limit - pos);
    let [from, to] = [WINDOW_AT, OUT_AT];
    while (from < end && frames < wanted) {
      const next = range.first + frames;
      while ((picked?.indexes[next] ?? next) >= until[mark]!) mark++;
      if (frames === 0) base = times[mark]!;
      // A batch read back may span a long outage; what is too far from its first record goes into the next record batch.
      const since = times[mark]! - base;
      if (since > LARGEST_DELTA) {
        isFull = true;
        break;
      }
      // The first one goes in however large it is.
      const most = frames === 0 ? 1 : framesBefore(until[mark]!, picked, next, range.first + wanted);
      to = encode(from, end, to, frames === 0 ? OUT_END : Math.max(to, Math.min(OUT_END, roomEnd)), frames, since, most);
      if (results[0]! > 0) delta = since;
      frames += results[0]!;
      from = results[1]!;
      if (results[0]! === most) continue;
      isFull = isWhole(from, end);
      break;
    }
    heap.copy(out, pos, OUT_AT, to);
    pos += to - OUT_AT;
    if (from === WINDOW_AT && !isFull) {
      // A frame longer than the window.
      const longAt = picked?.offsets[range.first + frames] ?? at;
      const length = bodyLength(batch.bytes, longAt);
      if (frames > 0 && pos + length + RECORD_OVERHEAD_BYTES > limit) break;
      delta = times[mark]! - base;
      pos = encodeLong({ source: batch.bytes, at: longAt }, out, pos, frames, delta);
      frames++;
      from += PREFIX_BYTES + length;
    }
    frameBytes += from - WINDOW_AT;
    at += from - WINDOW_AT;
  }
  return { length: pos - start, frames, frameBytes, nextAt: at, firstTimestampMs: base, lastTimestampMs: base + delta };
}

/** Fills the window with what lies from `at` on; the last frame may be cut. Returns where it ends. */
function loadRun(source: Buffer, at: number, end: number): number {
  return WINDOW_AT + source.copy(heap, WINDOW_AT, at, Math.min(end, at + WINDOW_BYTES));
}

/** Fills the window with whole picked frames, from `first` to `last`; of one that is longer than the window, with what fits. */
function loadPicked(source: Buffer, { offsets }: Picked, first: number, last: number): number {
  let end = WINDOW_AT;
  for (let i = first; i < last; i++) {
    const at = offsets[i]!;
    const bytes = PREFIX_BYTES + bodyLength(source, at);
    if (end + bytes > WINDOW_AT + WINDOW_BYTES) return end === WINDOW_AT ? loadRun(source, at, at + bytes) : end;
    source.copy(heap, end, at, at + bytes);
    end += bytes;
  }
  return end;
}

/** How many of the range's frames from `next` to `last` come before the batch's frame `end`. */
function framesBefore(end: number, picked: Picked | undefined, next: number, last: number): number {
  if (picked === undefined) return Math.min(end, last) - next;
  let i = next;
  while (i < last && picked.indexes[i]! < end) i++;
  return i - next;
}

function isWhole(at: number, end: number): boolean {
  return at + PREFIX_BYTES <= end && at + PREFIX_BYTES + bodyLength(heap, at) <= end;
}

/** The frame's head is in the window; its message goes straight from the batch to `out`. Returns where the next record goes. */
function encodeLong({ source, at }: { readonly source: Buffer; readonly at: number }, out: Buffer, pos: number, index: number, delta: number): number {
  const headEnd = encodeHead(WINDOW_AT, OUT_AT, index, delta);
  const keyAt = at + 6 + source[at + 4]!;
  const valueAt = keyAt + source[keyAt - 1]!;
  let next = pos + heap.copy(out, pos, OUT_AT, headEnd);
  next += source.copy(out, next, valueAt, at + PREFIX_BYTES + bodyLength(source, at));
  out[next++] = 0;
  return next;
}

/** Synchronously: it is one kilobyte. */
function instantiate(code: Buffer): RecordEncoder {
  const { Module, Instance } = (globalThis as unknown as WithWebAssembly).WebAssembly;
  return new Instance(new Module(code)).exports;
}

/** Node's types know it only with those of a browser. */
interface WithWebAssembly {
  readonly WebAssembly: {
    readonly Module: new (code: Buffer) => object;
    readonly Instance: new (module: object) => { readonly exports: RecordEncoder };
  };
}
