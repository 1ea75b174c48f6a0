// A door for tests, as plain as one can be: in memory, a record a line, `bucket message`. `?` asks how many
// are safe; a line without a space is a bad one. What a client writes lies in its pipe until it is read.
import type { Door } from '../src/doors/door.js';
import type { Entrance } from '../src/doors/entrance.js';
import { encodeFrame } from '../src/frames/frame.js';
import type { Fates } from '../src/frames/origins.js';
import { Receipt } from '../src/intake/receipt.js';
import type { UnfinishedHolder } from '../src/memory/unfinished.js';

/** Read at once, as from a socket. */
const CHUNK_BYTES = 64 * 1024;

export class LineDoor implements Door {
  readonly problem = undefined;
  entrance!: Entrance;
  state: 'made' | 'reading' | 'quiescing' | 'quiet' | 'gone' = 'made';
  isPaused = false;
  readonly clients = new Set<LineClient>();
  #markQuiet: () => void = () => undefined;

  constructor(readonly name = 'lines') {}

  connect(): LineClient {
    if (this.state !== 'reading') throw new Error(`refused: the door is ${this.state}`);
    const client = new LineClient(this);
    this.clients.add(client);
    return client;
  }

  open(entrance: Entrance): void {
    this.entrance = entrance;
    this.state = 'reading';
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (const client of this.clients) client.read();
  }

  async quiesce(withinMs: number): Promise<void> {
    this.state = 'quiescing';
    const timer = this.entrance.system.clock.after(withinMs, () => this.#markQuiet());
    await new Promise<void>((resolve) => {
      this.#markQuiet = resolve;
      this.hasRead();
    });
    timer.cancel();
    this.state = 'quiet';
  }

  release(): Promise<void> {
    for (const client of this.clients) client.leave();
    this.state = 'gone';
    return Promise.resolve();
  }

  /** Is there nothing more? */
  hasRead(): void {
    if ([...this.clients].every(({ unread }) => unread === 0)) this.#markQuiet();
  }
}

export class LineClient implements UnfinishedHolder {
  readonly answers: number[] = [];
  readonly #door: LineDoor;
  readonly #fates: Fates;
  #pipe: Buffer = Buffer.alloc(0);
  /** What has come of a line. */
  #line: Buffer = Buffer.alloc(0);
  #mayFinish = false;
  #isReading = false;
  #frames = 0;

  constructor(door: LineDoor) {
    this.#door = door;
    this.#fates = door.entrance.origins.open(() => undefined);
  }

  get isGone(): boolean {
    return !this.#door.clients.has(this);
  }

  get unread(): number {
    return this.#pipe.length;
  }

  write(text: string): void {
    this.#pipe = Buffer.concat([this.#pipe, Buffer.from(text)]);
    this.read();
  }

  leave(): void {
    this.#hold(Buffer.alloc(0), false);
    this.#door.entrance.origins.close(this.#fates);
    this.#door.clients.delete(this);
  }

  finish(): void {
    this.#mayFinish = true;
    this.read();
  }

  read(): void {
    const { state } = this.#door;
    if (this.#isReading || (state !== 'reading' && state !== 'quiescing')) return;
    this.#isReading = true;
    while (this.unread > 0 && (!this.#door.isPaused || this.#mayFinish)) {
      const newline = this.#pipe.indexOf('\n');
      const end = Math.min(newline < 0 ? this.unread : newline + 1, CHUNK_BYTES);
      const chunk = this.#pipe.subarray(0, end);
      this.#pipe = this.#pipe.subarray(end);
      this.#hold(Buffer.concat([this.#line, chunk]), this.#line.length === 0);
      if (chunk.at(-1) === 0x0a) this.#endLine();
    }
    this.#isReading = false;
    this.#door.hasRead();
  }

  #hold(line: Buffer, isNew: boolean): void {
    const { budget, unfinished } = this.#door.entrance;
    const more = line.length - this.#line.length;
    if (more > 0) budget.take(more);
    else budget.give(-more);
    unfinished.set(this, line.length, isNew);
    this.#line = line;
  }

  #endLine(): void {
    this.#mayFinish = false;
    this.#take(this.#line.toString().slice(0, -1));
    this.#hold(Buffer.alloc(0), false);
  }

  #take(line: string): void {
    const { entrance } = this.#door;
    const space = line.indexOf(' ');
    const origin = this.#fates.id;
    if (line === '?') {
      const receipt = new Receipt(this.#frames, ({ frames }) => void this.answers.push(frames));
      return entrance.fence(receipt, 'all');
    }
    const bucket = line.slice(0, Math.max(0, space));
    const bytes = encodeFrame(bucket, null, line.slice(space + 1));
    if (space < 0)
      return entrance.bad({ bytes, start: 0, end: bytes.length, reason: 'a line without a bucket', origin });
    this.#frames++;
    const { budget, system } = entrance;
    const run = { kind: 'run', bucket, chunk: bytes, start: 0, end: bytes.length, frames: 1 } as const;
    entrance.run({ ...run, nowMs: system.clock.now(), budget, origin });
  }
}
