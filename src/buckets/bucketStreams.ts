// The streams of a bucket: which of them get what comes, and how those end that the configuration has no
// more. They outlive a bucket that fails.
//
// A stream that was taken out gets nothing new, and goes on delivering what came before. Once STOP_TIMEOUT is
// nearly over its primary is given up: the rest goes to its backup, or is left over.
import { stopAll } from '../actors/actor.js';
import { type Clock, doneWithin } from '../clock.js';
import type { Backlog } from './backlog.js';
import type { BucketStream } from './bucketStream.js';
import type { Generation, StreamChanges } from './generation.js';
import type { Shutdown } from './shutdown.js';
import type { BatchSource } from '../streams/waiting.js';

export interface BucketStreamsOptions {
  readonly backlog: Backlog;
  /**
   * @param after what must have ended before the new one may open its files
   */
  readonly make: (generation: Generation, after: Promise<unknown>, source: BatchSource) => BucketStream;
  /** Without one, streams have all batches already when the daemon's end begins. */
  readonly hasSpool: boolean;
  readonly clock: Clock;
  readonly shutdown: Shutdown;
}

interface Member {
  readonly stream: BucketStream;
  /** In the backlog. */
  readonly number: number;
}

export class BucketStreams {
  readonly #options: BucketStreamsOptions;
  #members: Member[] = [];
  /** Those that were taken out, until they have ended. */
  readonly #leaving = new Map<BucketStream, Promise<void>>();
  #isTakenOut = false;
  #isFedNoMore = false;

  constructor(options: BucketStreamsOptions, generations: readonly Generation[]) {
    this.#options = options;
    for (const generation of generations) this.#add(generation);
  }

  /** Resolves when each that has changed goes on as it is now. Those that are the same are not touched. */
  async reconfigure({ removed, changed, added }: StreamChanges): Promise<void> {
    for (const member of this.#members.filter(({ stream }) => removed.includes(stream.id)))
      this.#takeOut(member);
    for (const generation of added) this.#add(generation);
    await Promise.all(changed.map(async (generation) => this.#change(generation)));
  }

  /** The whole bucket is configured no more: when it ends, its streams end as those that were taken out. */
  takeOut(): void {
    this.#isTakenOut = true;
  }

  /** Resolves when all have ended. */
  async end(): Promise<void> {
    if (this.#isTakenOut) {
      for (const member of [...this.#members]) this.#takeOut(member);
      void this.#options.shutdown.begun.then(() => this.#feedToTheEnd());
    } else {
      await this.#feedToTheEnd();
    }
    await stopAll(this.#members.map(({ stream }) => stream.ref));
    await Promise.all(this.#leaving.values());
  }

  async #feedToTheEnd(): Promise<void> {
    if (this.#options.hasSpool) await this.#options.backlog.handedOver(this.#options.shutdown.feedMs);
    this.#isFedNoMore = true;
  }

  /** One that a bug has kept from coming comes now. */
  async #change(generation: Generation): Promise<void> {
    const member = this.#members.find(({ stream }) => stream.id === generation.config.id);
    if (member === undefined) this.#add(generation);
    else await member.stream.change(generation);
  }

  #add(generation: Generation): void {
    const { backlog, make } = this.#options;
    const { id } = generation.config;
    const predecessors = [...this.#leaving].filter(([stream]) => stream.id === id).map(([, ended]) => ended);
    const member = backlog.addStream((source) => make(generation, Promise.all(predecessors), source));
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
    const { backlog, clock, shutdown } = this.#options;
    const { totalMs, takenOutMs } = shutdown.plan;
    stream.endBy(clock.now() + totalMs);
    backlog.endStream(number);
    if (!(await this.#isToldAllWithin(totalMs - takenOutMs, number)) && !this.#isFedNoMore) {
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
