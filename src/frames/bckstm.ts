// Reads `.bckstm` files: plain frames, one after another, kahego's and ours alike. A torn end is told, not thrown.
import { openSync, readSync, closeSync } from 'node:fs';
import { PREFIX_BYTES, bodyLength, judgeBody, MIN_BODY_BYTES } from './frame.js';

export interface BckstmFrame {
  /** Where in the file the frame starts. */
  readonly offset: number;
  readonly kind: 'frame' | 'checkpoint' | 'bad';
  readonly bucket: Buffer;
  readonly key: Buffer | null;
  readonly message: Buffer;
}

/** How the reading of a file ended. */
export interface BckstmEnd {
  /** Bytes that hold whole frames; what is behind them is torn. */
  readonly wholeBytes: number;
  readonly tornBytes: number;
}

const PIECE_BYTES = 1024 * 1024;
/** A length over this is no length: the file is torn there. */
const MAX_FRAME_BYTES = 1024 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/** Yields every frame of a file, reading it piece by piece; returns where the whole frames end. For tools: each frame is an object here. */
export function* readBckstm(path: string): Generator<BckstmFrame, BckstmEnd> {
  const fd = openSync(path, 'r');
  try {
    let held = EMPTY;
    let offset = 0;
    for (;;) {
      const piece = Buffer.allocUnsafe(Math.max(PIECE_BYTES, missingBytes(held)));
      const got = readSync(fd, piece, 0, piece.length, null);
      held = Buffer.concat([held, piece.subarray(0, got)]);
      let at = 0;
      for (let length = wholeFrame(held, at); length !== undefined; length = wholeFrame(held, at)) {
        yield parse(held, at, length, offset + at);
        at += PREFIX_BYTES + length;
      }
      held = held.subarray(at);
      offset += at;
      if (got === 0 || missingBytes(held) > MAX_FRAME_BYTES) return { wholeBytes: offset, tornBytes: held.length };
    }
  } finally {
    closeSync(fd);
  }
}

function missingBytes(held: Buffer): number {
  return held.length < PREFIX_BYTES ? 0 : Math.max(0, PREFIX_BYTES + bodyLength(held, 0) - held.length);
}

function wholeFrame(held: Buffer, at: number): number | undefined {
  if (at + PREFIX_BYTES > held.length) return undefined;
  const length = bodyLength(held, at);
  return at + PREFIX_BYTES + length <= held.length ? length : undefined;
}

function parse(held: Buffer, at: number, length: number, offset: number): BckstmFrame {
  const kind = length < MIN_BODY_BYTES ? 'bad' : judgeBody(held, at, length);
  if (kind !== 'frame' && kind !== 'checkpoint') {
    return { offset, kind: 'bad', bucket: EMPTY, key: null, message: Buffer.from(held.subarray(at + PREFIX_BYTES, at + PREFIX_BYTES + length)) };
  }
  const keyAt = at + 6 + held[at + 4]!;
  const keyLength = held[keyAt - 1]!;
  return {
    offset,
    kind,
    bucket: Buffer.from(held.subarray(at + 5, keyAt - 1)),
    key: keyLength === 0 ? null : Buffer.from(held.subarray(keyAt, keyAt + keyLength)),
    message: Buffer.from(held.subarray(keyAt + keyLength, at + PREFIX_BYTES + length)),
  };
}
