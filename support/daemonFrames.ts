// Frames for tests, written and read without the code under test: what goes in on one side is compared with
// what comes out on the other.
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** One frame, of which only what it says is kept. */
export interface Frame {
  readonly bucket: string;
  /** undefined: none, or an empty one, which is the same in a frame. */
  readonly key: string | undefined;
  readonly message: string;
}

/** The receipt question. */
export const QUESTION = Buffer.alloc(4);

/** The bytes of a frame. Texts are UTF-8. */
export function frame(bucket: string | Buffer, message: string | Buffer, key: string | Buffer = ''): Buffer {
  const [b, k] = [Buffer.from(bucket), Buffer.from(key)];
  return prefixed(
    Buffer.concat([Buffer.from([b.length]), b, Buffer.from([k.length]), k, Buffer.from(message)]),
  );
}

/** Any body behind its length. */
export function prefixed(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

/**
 * Checkpoint frames, as spool files have them, are left out.
 * @throws Error when the bytes are anything but whole frames that make sense
 */
export function parseFrames(bytes: Buffer, source = 'the bytes'): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + (at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Infinity);
    if (end > bytes.length) throw new Error(`${source}: torn at byte ${at} of ${bytes.length}`);
    const keyAt = at + 5 + bytes[at + 4]! + 1;
    const messageAt = keyAt + bytes[keyAt - 1]!;
    const isCheckpoint = keyAt === at + 6 && bytes.toString('latin1', keyAt, messageAt) === 'kahe1';
    if (messageAt > end || (keyAt === at + 6 && !isCheckpoint))
      throw new Error(`${source}: no frame at byte ${at}`);
    if (!isCheckpoint)
      frames.push({
        bucket: bytes.toString('utf8', at + 5, keyAt - 1),
        key: messageAt > keyAt ? bytes.toString('utf8', keyAt, messageAt) : undefined,
        message: bytes.toString('utf8', messageAt, end),
      });
    at = end;
  }
  return frames;
}

/** The .bckstm files below a folder (none, if it is not there), in the order in which they were made. */
export async function filesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const files = names.filter((name) => name.endsWith('.bckstm')).map((name) => path.join(folder, name));
  const stats = await Promise.all(
    files.map(async (file) => ({
      file,
      ns: (await stat(file, { bigint: true }).catch(() => undefined))?.birthtimeNs,
    })),
  );
  // One may have been removed meanwhile.
  const made = stats.flatMap(({ file, ns }) => (ns === undefined ? [] : [{ file, ns }]));
  // Made within one tick of the kernel's clock: then by number, as a-2 behind a.
  const byNumber = (file: string) => file.slice(0, -'.bckstm'.length);
  const byName = new Intl.Collator('en', { numeric: true });
  return made
    .sort((a, b) => Number(a.ns - b.ns) || byName.compare(byNumber(a.file), byNumber(b.file)))
    .map(({ file }) => file);
}

/**
 * All frames of the .bckstm files below a folder, in the order in which these were made.
 * @throws Error for a torn file
 */
export async function readFiles(folder: string): Promise<Frame[]> {
  const files = await filesOf(folder);
  return (await Promise.all(files.map(async (file) => parseFrames(await readFile(file), file)))).flat();
}

/** Messages that say who sent them and which they are: `sender:number:filler`. */
export function numberedMessage(sender: string, number: number, bytes = 0): string {
  const head = `${sender}:${number}:`;
  return (
    head +
    fillerOf(number)
      .repeat(Math.ceil(Math.max(0, bytes - head.length) / 26))
      .slice(0, Math.max(0, bytes - head.length))
  );
}

function fillerOf(number: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  return letters.slice(number % 26) + letters.slice(0, number % 26);
}

/** `count` frames of one sender, one behind the other. `key`: of the frame with this number. */
export function numberedFrames(
  bucket: string,
  sender: string,
  {
    from = 0,
    count,
    bytes = 0,
    key = () => '',
  }: {
    readonly from?: number;
    readonly count: number;
    readonly bytes?: number;
    readonly key?: (number: number) => string;
  },
): Buffer {
  const numbers = Array.from({ length: count }, (_, index) => from + index);
  return Buffer.concat(
    numbers.map((number) => frame(bucket, numberedMessage(sender, number, bytes), key(number))),
  );
}

/**
 * The numbers of each sender's messages, in the order in which they stand.
 * @throws Error for a message that nobody sent
 */
export function numbersBySender(messages: Iterable<string>): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const message of messages) {
    const [sender, number] = message.split(':', 2) as [string, string];
    if (message !== numberedMessage(sender, Number(number), message.length))
      throw new Error(`nobody sent this: ${message.slice(0, 200)}`);
    const list = numbers.get(sender);
    if (list === undefined) numbers.set(sender, [Number(number)]);
    else list.push(Number(number));
  }
  return numbers;
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
