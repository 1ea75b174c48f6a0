// `kahe send BUCKET …`: a frame, or one for each line, to the running daemon; ends once all of them are safe.
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { systemClock } from '../clock.js';
import { loadEnvironment } from '../config/env.js';
import { encodeFrame } from '../frames/frame.js';
import { type Command, type CommandLine, UsageError } from './command.js';
import { AwayError, DaemonLink } from './daemonLink.js';
import type { Io } from './io.js';
import { LineReader } from './lineReader.js';
import { Progress } from './progress.js';
import { countText } from './units.js';

export const sendCommand: Command = {
  name: 'send',
  summary: 'sends a frame, or one for each line, and waits until they are safe',
  operands: 'BUCKET [MESSAGE|-] [KEY]',
  options: {
    key: { value: 'K', help: 'the key of the frames' },
    file: { value: 'F', help: 'each line of this file is a frame' },
    socket: { value: 'PATH', help: 'the daemon\'s socket; without it SOCKET of the environment' },
  },
  examples: ['kahe send requests \'{"n":1}\' --key user-7', 'journalctl -o json | kahe send logs -'],
  exitCodes: { 0: 'all frames are safe', 1: 'not all of them are confirmed', 2: 'a wrong command line' },
  outlivesReader: true,
  run: send,
};

/** So much is on its way unconfirmed. */
const PIECE_BYTES = 256 * 1024;
const PIECE_FRAMES = 2_500;
const MOST_PIECES = 4;

async function send(line: CommandLine, io: Io): Promise<number> {
  const [bucket, message, positionalKey, ...more] = line.operands;
  if (bucket === undefined || bucket === '' || more.length > 0) throw new UsageError('name a bucket and a message, as: kahe send requests "hello"');
  if (positionalKey !== undefined && line.has('key')) throw new UsageError('the key is given twice: behind the message, and as --key');
  const key = line.text('key') ?? positionalKey ?? null;
  const encode = (text: string | Uint8Array): Buffer => encoded(bucket, key, text);
  encode('');
  const file = line.text('file');
  if (file !== undefined && message !== undefined) throw new UsageError('a message and --file exclude each other');
  if (message !== undefined && message !== '-') return deliverOne(encode(message), line, io);
  if (file === undefined && message === undefined && io.stdin.isTTY === true) throw new UsageError('name a bucket and a message, as: kahe send requests "hello"; or "-" for lines typed here');
  return deliverLines({ encode, line, io, input: file === undefined ? io.stdin : createReadStream(file), totalBytes: file === undefined ? 0 : statSync(file).size });
}

/** @throws {UsageError} it fits in no frame */
function encoded(bucket: string, key: string | null, message: string | Uint8Array): Buffer {
  try {
    return encodeFrame(bucket, key, message);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function placeOf(line: CommandLine, io: Io): { readonly path: string; readonly maxFrameBytes: number } {
  const { socket, maxFrameBytes } = loadEnvironment({ cwd: io.cwd, env: io.env });
  return { path: line.text('socket') ?? socket.path, maxFrameBytes };
}

async function deliverOne(frame: Buffer, line: CommandLine, io: Io): Promise<number> {
  try {
    const link = await DaemonLink.connect(placeOf(line, io).path);
    await link.send(frame, 1).finally(() => link.destroy());
  } catch (error) {
    if (!(error instanceof AwayError)) throw error;
    await io.err.write(`kahe send: ${error.message}\n`);
    return 1;
  }
  await io.out.write('1 frame is safe\n');
  return 0;
}

interface LinesToSend {
  readonly encode: (text: Uint8Array) => Buffer;
  readonly line: CommandLine;
  readonly io: Io;
  readonly input: Readable;
  /** 0: not known. */
  readonly totalBytes: number;
}

async function deliverLines({ encode, line, io, input, totalBytes }: LinesToSend): Promise<number> {
  const { path, maxFrameBytes } = placeOf(line, io);
  const progress = new Progress({ io, clock: systemClock, totalBytes });
  let lines = 0;
  try {
    const link = await DaemonLink.connect(path);
    const sending = new LineSending(link, progress);
    try {
      for await (const text of new LineReader(input, maxFrameBytes)) {
        await sending.add(encode(text), text.length + 1);
        lines++;
      }
      await sending.end();
    } finally {
      link.destroy();
    }
  } catch (error) {
    progress.say(`kahe send: ${(error as Error).message}`);
    progress.say(`the first ${countText(progress.frames)} lines are safe; of line ${progress.frames + 1} and those behind it nothing is known`);
    return 1;
  }
  progress.tell(`${countText(lines)} frame${lines === 1 ? ' is' : 's are'} safe`);
  return 0;
}

/** Gathers frames to pieces, of which a few are on their way at a time. */
class LineSending {
  #frames: Buffer[] = [];
  #bytes = 0;
  #inputBytes = 0;
  readonly #sent: Promise<void>[] = [];

  constructor(readonly link: DaemonLink, readonly progress: Progress) {}

  async add(frame: Buffer, inputBytes: number): Promise<void> {
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#inputBytes += inputBytes;
    if (this.#bytes < PIECE_BYTES && this.#frames.length < PIECE_FRAMES) return;
    this.#flush();
    if (this.#sent.length >= MOST_PIECES) await this.#sent.shift();
  }

  async end(): Promise<void> {
    if (this.#frames.length > 0) this.#flush();
    for (const piece of this.#sent) await piece;
  }

  #flush(): void {
    const [frames, inputBytes] = [this.#frames, this.#inputBytes];
    [this.#frames, this.#bytes, this.#inputBytes] = [[], 0, 0];
    const sent = this.link.send(Buffer.concat(frames), frames.length).then(() => this.progress.advance(inputBytes, frames.length));
    // Whoever waits for it hears of it; until then it is no failure of its own.
    sent.catch(() => undefined);
    this.#sent.push(sent);
  }
}
