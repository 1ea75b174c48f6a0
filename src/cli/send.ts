// `kahe send BUCKET …`: a frame, or one for each line, to the running daemon; ends once it is known what
// became of them.
import { plural } from '../plural.js';
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { systemClock } from '../clock.js';
import { PREFIX_BYTES, encodeFrame } from '../frames/frame.js';
import { type Command, type CommandLine, UsageError } from './command.js';
import { type DaemonPlace, SOCKET_OPTION, daemonPlace } from './daemonPlace.js';
import { Delivery } from './delivery.js';
import type { Io } from './io.js';
import { LineReader } from './lineReader.js';
import { outcomeLine, refusedIn } from './outcomes.js';
import { Progress } from './progress.js';
import { countText, framesText } from './units.js';

export const sendCommand: Command = {
  name: 'send',
  summary: 'sends a frame, or one for each line, and says what became of them',
  operands: 'BUCKET [MESSAGE|-] [KEY]',
  options: {
    key: { value: 'K', help: 'the key of the frames' },
    'key-delimiter': {
      short: 'K',
      value: 'TEXT',
      help: 'what stands before the first TEXT of a line is its key',
    },
    file: { value: 'F', help: 'each line of this file is a frame' },
    socket: SOCKET_OPTION,
    wait: { value: 'SECONDS', help: 'how long it waits for the delivery of what is safe; 5 without it' },
    timeout: {
      value: 'SECONDS',
      help: 'how long a daemon that goes away in the middle is waited for; 60 without it',
    },
  },
  examples: [
    'kahe send requests \'{"n":1}\' --key user-7',
    'journalctl -o json | kahe send logs -',
    'kahe send users - -K : --file users.txt',
  ],
  exitCodes: {
    0: 'all frames are safe, and none is known to be rejected',
    1: 'some were rejected or discarded, or are not confirmed',
    2: 'a wrong command line',
  },
  outlivesReader: true,
  run: send,
};

const DEFAULT_WAIT_S = 5;
const DEFAULT_TIMEOUT_S = 60;

interface Sending {
  /** A file has an end; what is typed or piped ends when a signal says so. */
  readonly isFile: boolean;
  readonly place: DaemonPlace;
  readonly io: Io;
  readonly waitMs: number;
  readonly timeoutMs: number;
  readonly progress: Progress;
}

async function send(line: CommandLine, io: Io): Promise<number> {
  const [bucket, message, positionalKey, ...more] = line.operands;
  if (bucket === undefined || bucket === '' || more.length > 0)
    throw new UsageError('name a bucket and a message, as: kahe send requests "hello"');
  const key = line.text('key') ?? positionalKey ?? null;
  const delimiter = line.text('key-delimiter');
  const file = line.text('file');
  const isOne = message !== undefined && message !== '-';
  if (positionalKey !== undefined && line.has('key'))
    throw new UsageError('the key is given twice: behind the message, and as --key');
  if (delimiter !== undefined && key !== null)
    throw new UsageError('a key and --key-delimiter exclude each other');
  if (delimiter !== undefined && isOne)
    throw new UsageError('--key-delimiter is for lines; give the key of one message with --key');
  if (file !== undefined && isOne) throw new UsageError('a message and --file exclude each other');
  encoded(bucket, key, '');
  if (file === undefined && message === undefined && io.stdin.isTTY === true)
    throw new UsageError(
      'name a bucket and a message, as: kahe send requests "hello"; or "-" for lines typed here',
    );
  const sending = sendingOf(line, io, file);
  if (isOne)
    return deliver(sending, (delivery) => delivery.add(encoded(bucket, key, message), 0).then(() => true));
  const keyed: Keyed = {
    bucket,
    key,
    delimiter: delimiter === undefined ? undefined : Buffer.from(delimiter),
  };
  return deliver(sending, (delivery) =>
    addLines(delivery, keyed, file === undefined ? io.stdin : createReadStream(file), sending),
  );
}

function sendingOf(line: CommandLine, io: Io, file: string | undefined): Sending {
  return {
    place: daemonPlace(line, io),
    io,
    isFile: file !== undefined,
    waitMs: (line.text('wait') === '0' ? 0 : (line.number('wait') ?? DEFAULT_WAIT_S)) * 1000,
    timeoutMs: (line.number('timeout') ?? DEFAULT_TIMEOUT_S) * 1000,
    progress: new Progress({
      io,
      clock: systemClock,
      totalBytes: file === undefined ? 0 : statSync(file).size,
    }),
  };
}

/** @throws {UsageError} it fits in no frame */
function encoded(bucket: string, key: string | Uint8Array | null, message: string | Uint8Array): Buffer {
  try {
    return encodeFrame(bucket, key, message);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** @param add @returns could all be sent that was read? */
async function deliver(sending: Sending, add: (delivery: Delivery) => Promise<boolean>): Promise<number> {
  const { place, progress, timeoutMs, waitMs } = sending;
  const delivery = new Delivery({ path: place.path, progress, clock: systemClock, timeoutMs });
  try {
    await delivery.open();
    const isAll = await add(delivery);
    await delivery.end();
    const report = await delivery.outcome(waitMs);
    progress.tell(report === undefined ? safeLine(progress.frames, delivery.discarded) : outcomeLine(report));
    return isAll && delivery.discarded === 0 && (report === undefined || refusedIn(report) === 0) ? 0 : 1;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    progress.say(`kahe send: ${(error as Error).message}`);
    if (progress.frames > 0)
      progress.say(
        `${safeLine(progress.frames, delivery.discarded)}; of what was sent behind ${plural(progress.frames, 'it', 'them')} nothing is known`,
      );
    return 1;
  } finally {
    delivery.close();
  }
}

/** For a daemon that only gives receipts. */
function safeLine(frames: number, discarded: number): string {
  return `${framesText(frames - discarded)} ${plural(frames - discarded, 'is', 'are')} safe${discarded === 0 ? '' : `, ${countText(discarded)} discarded`}`;
}

interface Keyed {
  readonly bucket: string;
  readonly key: string | null;
  readonly delimiter: Buffer | undefined;
}

/** @returns was each line sent? */
async function addLines(
  delivery: Delivery,
  keyed: Keyed,
  input: Readable,
  { place, io, progress, isFile }: Sending,
): Promise<boolean> {
  let isAll = true;
  const stop = new AbortController();
  const forget = io.onStop((signal) => {
    progress.say(`${signal}: what was read is sent; a second signal ends at once`);
    stop.abort();
  });
  const passOver = (text: string): void => {
    isAll = false;
    progress.say(`kahe send: ${text}; it is passed over`);
  };
  const room = place.maxFrameBytes - (encodeFrame(keyed.bucket, keyed.key, '').length - PREFIX_BYTES);
  const lines = new LineReader(input, {
    maxBytes: room,
    stop: stop.signal,
    onTooLong: (number) =>
      passOver(`line ${number} is longer than a frame may be (MAXFRAME, ${place.maxFrameBytes} bytes)`),
  });
  try {
    for await (const text of lines) {
      const frame = frameOf(keyed, text);
      if (frame === undefined)
        passOver(
          `a line has a key of more than 255 bytes before ${JSON.stringify(keyed.delimiter!.toString())}`,
        );
      else await delivery.add(frame, text.length + 1);
    }
  } finally {
    forget();
  }
  if (isFile && stop.signal.aborted) {
    isAll = false;
    progress.say('kahe send: the file was not read to its end; what follows was not sent');
  }
  return isAll;
}

/** Undefined: its key is too long. */
function frameOf({ bucket, key, delimiter }: Keyed, line: Buffer): Buffer | undefined {
  const at = delimiter === undefined ? -1 : line.indexOf(delimiter);
  if (at > 255) return undefined;
  return at === -1
    ? encodeFrame(bucket, key, line)
    : encodeFrame(bucket, line.subarray(0, at), line.subarray(at + delimiter!.length));
}
