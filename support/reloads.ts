// Reloads of a daemon that runs, and clients that write meanwhile.
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { numberedFrames, numbersBySender, type DaemonClient, type Frame, type TestDaemon } from './daemon.js';

const IN_FORCE = /INFO .* SIGHUP: .*buckets\.json is in force: (.*)$/;
const KEPT = /ERROR .* SIGHUP: nothing was changed, the old configuration goes on/;

/** As an operator's tool does: the file is the old one or the new one at any moment. */
export async function configure(daemon: TestDaemon, buckets: object | string): Promise<void> {
  const file = join(daemon.folder, 'buckets.json');
  await writeFile(`${file}.new`, typeof buckets === 'string' ? buckets : JSON.stringify(buckets));
  await rename(`${file}.new`, file);
}

/**
 * Resolves when the daemon has taken it on, or has said why not.
 * @returns what it said has changed, or undefined
 */
export async function reload(daemon: TestDaemon, buckets?: object | string): Promise<string | undefined> {
  if (buckets !== undefined) await configure(daemon, buckets);
  const from = daemon.lines.length;
  daemon.signal('SIGHUP');
  const said = await daemon.until('the end of a reload', () =>
    daemon.lines.slice(from).find((line) => IN_FORCE.test(line) || KEPT.test(line)),
  );
  return IN_FORCE.exec(said)?.[1];
}

export function numbersIn(frames: readonly Frame[]): Map<string, number[]> {
  return numbersBySender(frames.map(({ message }) => message));
}

/**
 * Writes without end, to one bucket, a numbered frame after the other; nothing of it may be refused, closed
 * or lost.
 */
export class Writer {
  sent = 0;
  #isGoingOn = true;
  readonly #done: Promise<void>;

  private constructor(
    readonly client: DaemonClient,
    readonly bucket: string,
    readonly name: string,
  ) {
    this.#done = this.#write();
    // A test that fails ends the connection.
    this.#done.catch(() => undefined);
  }

  static async start(daemon: TestDaemon, bucket: string, name: string): Promise<Writer> {
    return new Writer(await daemon.connect(), bucket, name);
  }

  /** Resolves when so many more were taken. */
  async sends(daemon: TestDaemon, more: number): Promise<void> {
    const goal = this.sent + more;
    await daemon.until(`${more} frames more of ${this.name}`, () => this.sent >= goal);
  }

  /** Resolves when the daemon has read, and confirmed, all. */
  async end(): Promise<void> {
    this.#isGoingOn = false;
    await this.#done;
    expect(await this.client.receipt()).toBe(this.sent);
    expect(this.client.isClosed).toBe(false);
  }

  async #write(): Promise<void> {
    while (this.#isGoingOn) {
      await this.client.send(
        numberedFrames(this.bucket, this.name, { from: this.sent, count: 20, bytes: 60 }),
      );
      this.sent += 20;
      // The pace of the load, and nothing that anybody waits for.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
