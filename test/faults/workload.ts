// Clients that write to the daemon's socket while a fault happens. Promise: what each of them sent can be
// told from its name and a number alone, and so recomputed; and of each it is known how much the daemon owes:
// all that it read, or what a receipt confirmed when it was killed.
import type { TestDaemon } from '../../support/daemon.js';
import { QUESTION, frame, numberedMessage, type Frame } from '../../support/daemonFrames.js';
import type { DaemonClient } from '../../support/daemonClient.js';

export interface WorkloadPlan {
  /** Each client writes to all of them, in turn. */
  readonly buckets: readonly string[];
  readonly clients: number;
  /** Length of the message with this number, at least some 30 bytes. */
  readonly bytes: (number: number) => number;
  /** Frames a second of each client; undefined: as fast as they are taken. */
  readonly perSecond: number | undefined;
  /** A client ends by itself after so many frames. */
  readonly framesEach: number;
  /** A client asks how far the daemon is after so many frames, when it has its last answer. */
  readonly askEvery: number;
}

const DEFAULTS: Omit<WorkloadPlan, 'buckets'> = {
  clients: 4,
  bytes: () => 512,
  perSecond: 300,
  framesEach: Infinity,
  askEvery: 250,
};

/** Frames of one write. */
const CHUNK = 50;
const PACE_MS = 5;
const KEYS = 7;
/** For the last receipt of a client: its frames may have to wait until a fault is over. */
const LAST_RECEIPT_MS = 180_000;

/** The frame with this number. Every second one of a bucket has a key, one of seven of its sender's own. */
export function plannedFrame(plan: WorkloadPlan, sender: string, number: number): Frame {
  const round = Math.floor(number / plan.buckets.length);
  return {
    bucket: plan.buckets[number % plan.buckets.length]!,
    key: round % 2 === 0 ? `${sender}-${(round / 2) % KEYS}` : undefined,
    message: numberedMessage(sender, number, plan.bytes(number)),
  };
}

/** What one connection wrote, as far as it is known from outside. */
export interface SentBy {
  readonly name: string;
  /** Frames whose bytes were all taken by the kernel. */
  readonly sent: number;
  /** Frames of which the daemon may have got something: never fewer than `sent`. */
  readonly begun: number;
  /** The first so many must be found. */
  readonly owed: number;
  readonly frameOf: (number: number) => Frame;
}

/** One client on one connection. */
export class Sender implements SentBy {
  sent = 0;
  begun = 0;
  /** What the last receipt said. */
  receipted = 0;
  readonly name: string;
  readonly #client: DaemonClient;
  readonly #plan: WorkloadPlan;
  readonly #writing: Promise<void>;
  #asking: Promise<void> | undefined;
  #askedAt = 0;
  #state: 'writing' | 'ending' | 'read' | 'cut' = 'writing';

  constructor(client: DaemonClient, name: string, plan: WorkloadPlan) {
    this.#client = client;
    this.name = name;
    this.#plan = plan;
    this.#writing = this.#write().catch(() => this.#cut());
    void client.closed.then(() => this.#state === 'read' || this.#cut());
  }

  /**
   * All that was sent, once the daemon has read it to its end; of a connection that broke: what it confirmed.
   */
  get owed(): number {
    return this.#state === 'cut' ? this.receipted : this.sent;
  }

  /** The daemon went away before it had read everything. */
  get isCut(): boolean {
    return this.#state === 'cut';
  }

  /** Written, and not known to be safe yet. */
  get unconfirmed(): number {
    return this.sent - this.receipted;
  }

  frameOf = (number: number): Frame => plannedFrame(this.#plan, this.name, number);

  /**
   * Writes nothing more; resolves when the daemon has read it all, and with `asks` also confirmed it.
   * Harmless on a broken connection.
   */
  async end({ asks }: { readonly asks: boolean }): Promise<void> {
    if (this.#state === 'writing') this.#state = 'ending';
    await this.#writing;
    await this.#asking;
    if (asks && !this.isCut) {
      this.#ask();
      await this.#asking;
    }
    if (this.isCut) return;
    this.#client.endWriting();
    this.#state = 'read';
    await this.#client.closed;
  }

  async #write(): Promise<void> {
    const startedMs = Date.now();
    const { perSecond, framesEach } = this.#plan;
    while (this.#state === 'writing' && this.sent < framesEach) {
      const isDue =
        perSecond === undefined ? Infinity : Math.floor(((Date.now() - startedMs) / 1000) * perSecond);
      const count = Math.min(CHUNK, isDue - this.sent, framesEach - this.sent);
      if (count > 0) await this.#send(count);
      // The pace of the load, and nothing that anybody waits for.
      if (count < CHUNK) await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  async #send(count: number): Promise<void> {
    const frames = Array.from({ length: count }, (_, i) => this.frameOf(this.sent + i));
    this.begun = this.sent + count;
    await this.#client.send(...frames.map(({ bucket, message, key }) => frame(bucket, message, key)));
    this.sent = this.begun;
    if (this.sent - this.#askedAt >= this.#plan.askEvery) this.#ask();
  }

  #ask(): void {
    if (this.#asking !== undefined) return;
    this.#askedAt = this.sent;
    this.#asking = this.#askNow()
      .catch(() => this.#cut())
      .finally(() => (this.#asking = undefined));
  }

  async #askNow(): Promise<void> {
    await this.#client.send(QUESTION);
    this.receipted = await this.#client.answer(LAST_RECEIPT_MS);
  }

  #cut(): void {
    this.#state = 'cut';
  }
}

/** All senders of a test, also of several daemons one after another on the same folder. */
export class Workload {
  readonly plan: WorkloadPlan;
  readonly senders: Sender[] = [];
  readonly #name: string;

  /** @param name of this workload: no other one that writes to the same buckets may have it; no colon */
  constructor(plan: Partial<WorkloadPlan> & Pick<WorkloadPlan, 'buckets'>, name = 'w') {
    this.plan = { ...DEFAULTS, ...plan };
    this.#name = name;
  }

  /**
   * Connects so many clients as planned and starts them; again for each daemon that follows on one that
   * ended.
   */
  async start(daemon: TestDaemon): Promise<void> {
    const clients = await Promise.all(Array.from({ length: this.plan.clients }, () => daemon.connect()));
    for (const client of clients)
      this.senders.push(new Sender(client, `${this.#name}${this.senders.length}`, this.plan));
  }

  /** Frames that the kernel took, of all clients. */
  get sent(): number {
    return this.senders.reduce((sum, sender) => sum + sender.sent, 0);
  }

  get connections(): number {
    return this.senders.filter(({ isCut }) => !isCut).length;
  }

  /** Resolves when so many frames more were taken. @throws Error when the daemon ends, or at the deadline */
  async sends(daemon: TestDaemon, more: number, deadlineMs?: number): Promise<void> {
    const goal = this.sent + more;
    await daemon.until(`${more} more frames taken`, () => this.sent >= goal, deadlineMs);
  }

  /** Resolves when all that was sent until now is confirmed. @throws as sends */
  async confirmed(daemon: TestDaemon, deadlineMs?: number): Promise<void> {
    const goals = this.senders.filter(({ isCut }) => !isCut).map((sender) => ({ sender, sent: sender.sent }));
    await daemon.until(
      'a receipt for all that was sent',
      () => goals.every(({ sender, sent }) => sender.receipted >= sent),
      deadlineMs,
    );
  }

  /**
   * Ends all clients. Resolves when the daemon has read everything, and, with `asks` (the default), confirmed
   * it: that is delivered or in the backup without a spool, and in the spool with one.
   */
  async end({ asks = true }: { readonly asks?: boolean } = {}): Promise<void> {
    await Promise.all(this.senders.map((sender) => sender.end({ asks })));
  }
}
