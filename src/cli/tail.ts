// `kahe tail BUCKET`: frames of a bucket as they pass through the running daemon, a sample of them where
// there are many.
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { OTHER_BUCKETS } from '../stats/fold.js';
import type { FrameLine, TailLine } from '../admin/tail/tail.js';
import { didYouMean } from '../config/didYouMean.js';
import { ADMIN_OPTION, AdminLink, NoDaemonError } from './adminLink.js';
import { type Command, type CommandLine, CommandError, UsageError } from './command.js';
import { type Io, painted } from './io.js';
import { LineReader } from './lineReader.js';
import { bytesText, countText, cut, escaped, framesText, lineOf } from './units.js';

export const tailCommand: Command = {
  name: 'tail',
  summary: 'shows frames of a bucket as they pass, a sample of them',
  operands: 'BUCKET',
  options: {
    key: { value: 'K', help: 'only frames with this key' },
    rate: { value: 'N', help: 'at most so many frames a second, 1000 at most; 10 without it' },
    count: { value: 'N', help: 'ends after so many frames' },
    values: { help: 'messages whole, up to 64 KB; without it the table has their beginning' },
    json: { help: 'a JSON object on a line for each frame; "base64" names the fields that are no text' },
    admin: {
      ...ADMIN_OPTION,
      help: "the daemon's admin door, the path of a socket; without it ADMIN of the environment",
    },
  },
  examples: [
    'kahe tail requests',
    'kahe tail requests --key user-7 --values',
    'kahe tail requests --json --rate 100 --count 1000 | jq -r .message',
  ],
  exitCodes: {
    0: 'it ended as asked',
    1: 'the daemon shows no frames there, or not to one more',
    2: 'a wrong command line',
    3: 'no daemon answers, it went away, or nothing says where it is',
  },
  run: tail,
};

const MOST_RATE = 1000;
/** Of a line: message, key and headers of 64 KB each, each byte of them escaped. */
const MOST_LINE_BYTES = 2 * 1024 * 1024;

async function tail(line: CommandLine, io: Io): Promise<number> {
  const [bucket, ...more] = line.operands;
  if (bucket === undefined || bucket === '' || more.length > 0)
    throw new UsageError('name one bucket, as: kahe tail requests');
  const [rate, key, count] = [
    line.number('rate') ?? 10,
    line.text('key'),
    line.wholeNumber('count') ?? Infinity,
  ];
  if (rate > MOST_RATE)
    throw new UsageError(
      `--rate ${line.text('rate')!} is over ${MOST_RATE}, which is the most that the daemon shows in a second`,
    );
  const link = AdminLink.of(line, io);
  const stop = new AbortController();
  const endListening = io.onStop(() => stop.abort());
  try {
    // First the frames, so that none passes unseen while the names are asked for.
    const response = await link.tail(
      bucket,
      { rate: String(rate), ...(key === undefined ? {} : { key }) },
      stop.signal,
    );
    await checkTaken(response);
    await tellIfUnknown(bucket, link, io);
    const seen = new Seen(line, io);
    await follow(response, seen, count).finally(() => seen.end());
    response.destroy();
  } catch (error) {
    // Whatever broke off when it was told to end.
    if (!stop.signal.aborted) throw error;
  } finally {
    endListening();
  }
  return 0;
}

async function checkTaken(response: IncomingMessage): Promise<void> {
  if (response.statusCode === 200) return;
  const said = escaped(await text(response));
  throw new CommandError(response.statusCode === 503 ? 'the daemon is just starting: try again' : said);
}

/** A name that is misspelt would be waited for without end. */
async function tellIfUnknown(bucket: string, link: AdminLink, io: Io): Promise<void> {
  const names = (await link.look())?.snapshot.buckets.map(({ name }) => name) ?? [];
  if (names.includes(bucket) || names.includes(OTHER_BUCKETS)) return;
  const near = escaped(didYouMean(bucket, names));
  await io.err.write(
    `kahe tail: there is no bucket ${lineOf(Buffer.from(bucket))} until now: its first frame is waited for${near}\n`,
  );
}

/** Resolves once so many frames were seen. @throws {NoDaemonError} the daemon ended it */
async function follow(response: IncomingMessage, seen: Seen, count: number): Promise<void> {
  try {
    for await (const bytes of new LineReader(response, { maxBytes: MOST_LINE_BYTES })) {
      await seen.take(bytes.toString());
      if (seen.frames >= count) return;
    }
  } catch (error) {
    throw new NoDaemonError(`the daemon went away: ${(error as Error).message}`);
  }
  throw new NoDaemonError('the daemon went away');
}

const BEGINNING = 60;
const WIDEST_KEY = 40;

/** What has come, and how it is shown. */
class Seen {
  readonly #io: Io;
  readonly #isJson: boolean;
  readonly #hasValues: boolean;
  frames = 0;
  #unseen = 0;
  #isHeadShown = false;

  constructor(line: CommandLine, io: Io) {
    this.#io = io;
    this.#isJson = line.has('json');
    this.#hasValues = line.has('values');
  }

  async take(text: string): Promise<void> {
    const line = JSON.parse(text) as TailLine;
    if (line.kind === 'frame') this.frames++;
    else return this.#unseenMore(line.frames);
    if (this.#isJson) return this.#io.out.write(`${text}\n`);
    const head = this.#isHeadShown ? '' : `${row('TIME', 'KEY', 'SIZE', 'MESSAGE')}\n`;
    this.#isHeadShown = true;
    return this.#io.out.write(`${head}${this.#row(line)}\n`);
  }

  #unseenMore(frames: number): Promise<void> {
    this.#unseen += frames;
    return this.#io.err.write(
      `${painted(this.#io.err, 'dim', `… ${framesText(frames)} more passed unseen`)}\n`,
    );
  }

  end(): Promise<void> {
    return this.#io.err.write(`${framesText(this.frames)} shown, ${countText(this.#unseen)} passed unseen\n`);
  }

  #row({ time, key, size, message, base64 = [], isCut }: FrameLine): string {
    const bytesOf = (name: string, shown: string): Buffer =>
      Buffer.from(shown, base64.includes(name) ? 'base64' : 'utf8');
    const whole = message === null ? '(null)' : lineOf(bytesOf('message', message));
    return row(
      time.slice(11, 23),
      key === null ? '-' : cut(lineOf(bytesOf('key', key)), WIDEST_KEY),
      bytesText(size),
      this.#hasValues ? `${whole}${isCut === true ? '…' : ''}` : cut(whole, BEGINNING),
    );
  }
}

function row(time: string, key: string, size: string, message: string): string {
  return [time.padEnd(12), key.padEnd(12), size.padStart(8), '', message].join(' ').trimEnd();
}
