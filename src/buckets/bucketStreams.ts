// The streams of a bucket: which of them get what comes, and how those end that the configuration has no
// more. They outlive a bucket that fails.
//
// A stream that was taken out gets nothing new, and goes on delivering what came before. Once STOP_TIMEOUT is
// nearly over its primary is given up: the rest goes to its backup, or is left over.
import { isDeepStrictEqual } from 'node:util';
import { stopAll } from '../actors/actor.js';
import { type Clock, doneWithin } from '../clock.js';
import type { StreamConfig } from '../config/buckets.js';
import type { Backlog } from './backlog.js';
import type { BacklogStream } from './streamCursor.js';
import type { BatchSource } from '../streams/waiting.js';

export interface BucketStream extends BacklogStream {
  readonly config: StreamConfig;
  /** Resolves when it goes on with the new configuration, or has ended. */
  change(config: StreamConfig): Promise<void>;
  /** It was taken out, and must have ended then (ms since the epoch). */
  endBy(atMs: number): void;
}

export interface BucketStreamsOptions {
  readonly backlog: Backlog;
  /**
   * @param after what must have ended before the new one may open its files
   */
  readonly make: (config: StreamConfig, after: Promise<unknown>, source: BatchSource) => BucketStream;
  readonly hasSpool: boolean;
  readonly clock: Clock;
  /** STOP_TIMEOUT. */
  readonly stopTimeoutMs: number;
  /**
   * At the daemon's end: how long the streams may still be given batches. Without a spool they have them all.
   */
  readonly feedMs: () => number;
  /** Resolves when the daemon's end begins. */
  readonly stopping: Promise<void>;
}

interface Member {
  readonly stream: BucketStream;
  /** In the backlog. */
  readonly number: number;
}

/** Of STOP_TIMEOUT, what is kept at most for giving to the backup what the primary did not take. */
const LAST_RESORT_MS = 5_000;

export class BucketStreams {
  readonly #options: BucketStreamsOptions;
  #members: Member[] = [];
  /** Those that were taken out, until they have ended. */
  readonly #leaving = new Map<BucketStream, Promise<void>>();
  #isTakenOut = false;
  #isFedNoMore = false;

  constructor(options: BucketStreamsOptions, configs: readonly StreamConfig[]) {
    this.#options = options;
    for (const config of configs) this.#add(config);
  }

  /**
   * Takes on another set of streams. Those that are the same are not touched. Resolves when each that has
   * changed goes on as it is now.
   */
  async turnTo(configs: readonly StreamConfig[]): Promise<void> {
    const ids = new Set(configs.map(({ id }) => id));
    for (const member of this.#members.filter(({ stream }) => !ids.has(stream.id))) this.#takeOut(member);
    await Promise.all(configs.map(async (config) => this.#turnOne(config)));
  }

  /** The whole bucket is configured no more: when it ends, its streams end as those that were taken out. */
  takeOut(): void {
    this.#isTakenOut = true;
  }

  /** Resolves when all have ended. */
  async end(): Promise<void> {
    if (this.#isTakenOut) {
      for (const member of [...this.#members]) this.#takeOut(member);
      void this.#options.stopping.then(() => this.#feedToTheEnd());
    } else {
      await this.#feedToTheEnd();
    }
    await stopAll(this.#members.map(({ stream }) => stream.ref));
    await Promise.all(this.#leaving.values());
  }

  async #feedToTheEnd(): Promise<void> {
    if (this.#options.hasSpool) await this.#options.backlog.handedOver(this.#options.feedMs());
    this.#isFedNoMore = true;
  }

  async #turnOne(config: StreamConfig): Promise<void> {
    const stream = this.#members.find((member) => member.stream.id === config.id)?.stream;
    if (stream === undefined) this.#add(config);
    else if (!isDeepStrictEqual(stream.config, config)) await stream.change(config);
  }

  #add(config: StreamConfig): void {
    const { backlog, make } = this.#options;
    const predecessors = [...this.#leaving].filter(([{ id }]) => id === config.id).map(([, ended]) => ended);
    const member = backlog.addStream((source) => make(config, Promise.all(predecessors), source));
    this.#members.push(member);
  }

  #takeOut(member: Member): void {
    this.#members = this.#members.filter((other) => other !== member);
    const { stream } = member;
    this.#leaving.set(
      stream,
      this.#end(member).finally(() => this.#leaving.delete(stream)),
    );
  }

  async #end({ stream, number }: Member): Promise<void> {
    const { backlog, clock, stopTimeoutMs } = this.#options;
    const lastResortMs = Math.min(LAST_RESORT_MS, stopTimeoutMs / 2);
    stream.endBy(clock.now() + stopTimeoutMs);
    backlog.endStream(number);
    if (!(await this.#isToldAllWithin(stopTimeoutMs - lastResortMs, number)) && !this.#isFedNoMore) {
      stream.ref.tell({ kind: 'giveUpPrimary' });
      // What it gave back while it could not write.
      backlog.ready(number);
      await backlog.toldAll(number);
    }
    stream.ref.stop();
    await stream.ref.stopped;
    if (await backlog.toldAll(number)) backlog.removeStream(number);
  }

  async #isToldAllWithin(ms: number, number: number): Promise<boolean> {
    const { backlog, clock } = this.#options;
    const told = backlog.toldAll(number);
    return (await doneWithin(clock, ms, told)) && (await told);
  }
}
