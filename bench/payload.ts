// What is sent: frames or lines, made before anything is measured. The same numbers every time, so that runs
// can be compared.
import { encodeFrame } from '../src/frames/frame.js';
import { encodeFullFrame } from '../src/frames/fullFrame.js';

export interface Payload {
  /**
   * letters: at random, the worst case for compression. json: log lines of about 200 bytes. full: letters, in
   * full frames with two headers.
   */
  readonly kind: 'letters' | 'json' | 'full';
  /** Of one message; means nothing for json. */
  readonly bytes: number;
}

/** Frames as Kahe takes them, or lines as rsyslog does. */
export type Wire = { readonly frame: { readonly bucket: string } } | 'line';

/**
 * So many different messages there are; 4096 of 100 bytes are more than the 64 KB in which snappy looks for
 * repetitions.
 */
const DISTINCT = 4096;
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ROUTES = ['/', '/api/cart', '/api/orders', '/api/products', '/checkout', '/login', '/search'];
const AGENTS = ['Firefox/128.0', 'Chrome/126.0.0.0', 'Safari/605.1.15'];
const STATUSES = [200, 200, 200, 200, 204, 301, 404, 500];

/** One buffer for each write, every message in one of them. */
export function makeWrites(payload: Payload, wire: Wire, perWrite: number): Buffer[] {
  const random = randomFrom(20240607);
  const encode = encoderOf(payload, wire);
  const writes = Math.max(64, Math.ceil(DISTINCT / perWrite));
  return Array.from({ length: writes }, () =>
    Buffer.concat(Array.from({ length: perWrite }, () => encode(makeMessage(payload, random)))),
  );
}

function makeMessage(payload: Payload, random: (below: number) => number): Buffer {
  if (payload.kind === 'json') return Buffer.from(logLine(random));
  return Buffer.from(Array.from({ length: payload.bytes }, () => LETTERS.charCodeAt(random(LETTERS.length))));
}

function logLine(random: (below: number) => number): string {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  return JSON.stringify({
    time: new Date(1_717_750_000_000 + random(3_600_000)).toISOString(),
    level: random(20) === 0 ? 'warn' : 'info',
    route: pick(ROUTES),
    status: pick(STATUSES),
    ms: random(90_000) / 100,
    user: `u${random(100_000)}`,
    agent: pick(AGENTS),
    request: `${random(2 ** 31).toString(16)}${random(2 ** 31).toString(16)}`,
    host: `web-${random(8)}`,
  });
}

const HEADERS = [
  ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ['app', 'shop'],
] as const;

/** What a full frame with these headers is longer than a plain one with the same message. */
export const FULL_EXTRA_BYTES =
  encodeFullFrame({ bucket: 'b', value: '', headers: HEADERS }).length - encodeFrame('b', null, '').length;

function encoderOf({ kind }: Payload, wire: Wire): (message: Buffer) => Buffer {
  if (wire === 'line') return lineOf;
  const { bucket } = wire.frame;
  if (kind !== 'full') return frameOf(bucket);
  return (value) => encodeFullFrame({ bucket, value, headers: HEADERS });
}

/** u32 LE length | u8 bucketLength, bucket | u8 keyLength (0: no key) | message */
function frameOf(bucket: string): (message: Buffer) => Buffer {
  const name = Buffer.from(bucket);
  return (message) => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(2 + name.length + message.length);
    return Buffer.concat([head, Buffer.from([name.length]), name, Buffer.from([0]), message]);
  };
}

function lineOf(message: Buffer): Buffer {
  return Buffer.concat([message, Buffer.from('\n')]);
}

/** mulberry32 */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
