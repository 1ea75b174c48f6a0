// One stream of one bucket as the daemon runs it: its parts, its actor, and what is to be seen of it. Its
// configuration may change while it lives: then all that is not settled goes back to the backlog, and the new
// parts are fed from there, in order.
import { crc32c } from '@node-rs/crc32';
import type { ActorContext, ActorRef } from '../actors/actor.js';
import type { StreamRecord } from './bucketRecord.js';
import type { Generation } from './generation.js';
import type { LeftOvers } from './leftOvers.js';
import type { BucketMessage } from './messages.js';
import type { Shutdown } from './shutdown.js';
import type { Origins } from '../frames/origins.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log/log.js';
import { closeNow } from '../streams/streamParts.js';
import type { Account } from '../streams/account.js';
import { plural } from '../plural.js';
import { backupPlace } from '../streams/backup/backupLedger.js';
import { StreamActor } from '../streams/streamActor.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { StreamActorOptions } from '../streams/streamOptions.js';
import type { BatchSource } from '../streams/waiting.js';

export interface BucketStreamOptions {
  /** Of its bucket. */
  readonly context: ActorContext<BucketMessage>;
  /** What must have ended before its files may be opened. */
  readonly after: Promise<unknown>;
  readonly source: BatchSource;
  readonly shutdown: Shutdown;
  /** Has what could be delivered nowhere. */
  readonly leftOvers: LeftOvers;
  readonly origins: Origins;
  readonly clock: Clock;
}

/**
 * How long a failed primary is left alone in backup mode; in error mode batches wait, so it is asked more
 * often.
 */
export const RETRY_MS = 10_000;
export const ERROR_RETRY_MS = 1_000;
/**
 * When it changes: how long what is on its way may take before it goes back, and may arrive twice.
 */
const CHANGE_MS = 5_000;

export class BucketStream {
  readonly id: string;
  readonly account: Account;
  readonly ref: ActorRef<StreamMessage>;
  readonly #options: BucketStreamOptions;
  readonly #log: Log;
  readonly #record: StreamRecord;
  #generation: Generation;
  /** What the next actor is made of. */
  #next: Generation | undefined;
  #markChanged: () => void = () => undefined;
  #endsAtMs = Infinity;

  constructor(generation: Generation, options: BucketStreamOptions) {
    const { context } = options;
    const name = `stream.${generation.config.id}`;
    this.id = generation.config.id;
    this.account = generation.record.account;
    this.#options = options;
    this.#log = context.log.at(`${context.path}/${name}`);
    this.#record = generation.record;
    this.#generation = generation;
    this.ref = context.spawn<StreamMessage>(name, (inner) => new StreamActor(inner, this.#actorOptions()));
    this.#show();
    void this.ref.stopped.then(() => this.#afterEnd());
  }

  get type(): string {
    return this.#generation.config.type;
  }

  /** Resolves when it goes on with the new parts, or has ended. */
  async change(next: Generation): Promise<void> {
    this.#dropNext();
    this.#markChanged();
    this.#next = next;
    const changed = new Promise<void>((resolve) => (this.#markChanged = resolve));
    this.ref.tell({
      kind: 'configure',
      options: this.#optionsOf(next),
      withinMs: CHANGE_MS,
      onTaken: () => this.#takeNext(),
    });
    await Promise.race([changed, this.ref.stopped]);
  }

  /** It was taken out, and must have ended then (ms since the epoch). */
  endBy(atMs: number): void {
    this.#endsAtMs = atMs;
  }

  get #isTakenOut(): boolean {
    return this.#endsAtMs !== Infinity;
  }

  /**
   * Asked for whenever an actor is made: the first one, or one after a failure, which has the newest parts.
   */
  #actorOptions(): StreamActorOptions {
    this.#takeNext();
    return this.#optionsOf(this.#generation);
  }

  #optionsOf({ config, record, parts: { primary, backup, replay } }: Generation): StreamActorOptions {
    const { after, source, leftOvers, origins, shutdown, clock } = this.#options;
    return {
      primary,
      backup,
      replay,
      beforeOpen: async () => {
        await after;
        record.ledger.turnTo(backupPlace(config));
      },
      slice: config.slice,
      sliceSeed: crc32c(config.id),
      retryMs: RETRY_MS,
      errorRetryMs: ERROR_RETRY_MS,
      stopTimeoutMs: () => Math.min(shutdown.leftMs, this.#endsAtMs - clock.now()),
      endReason: () =>
        this.#isTakenOut ? `stream ${this.id} was taken out of the configuration` : 'the daemon stopped',
      onLeftOver: (batch, reason) => leftOvers.leave(batch, reason, this.#isTakenOut, this.#log),
      origins,
      source,
      account: record.account,
      stats: record.stats,
    };
  }

  #takeNext(): void {
    if (this.#next === undefined) return;
    if (this.#next.config.backup === undefined) this.#sayWhatStays('it has no backup any more');
    // Closed already, unless the actor has failed before it could.
    closeNow(this.#generation.parts);
    this.#generation = this.#next;
    this.#next = undefined;
    this.#show();
    this.#markChanged();
  }

  #show(): void {
    const { config, record, parts } = this.#generation;
    record.type = config.type;
    record.backupType = config.backup?.type;
    record.backedUp = parts.backedUp;
    record.ref = this.ref;
  }

  #afterEnd(): void {
    this.#dropNext();
    if (this.#record.ref === this.ref) this.#record.stats.end();
    if (this.#isTakenOut) this.#sayWhatStays('the stream was taken out of the configuration');
  }

  #sayWhatStays(why: string): void {
    const {
      config: { backup },
      parts: { replay },
    } = this.#generation;
    if (replay === undefined || replay.leftFrames === 0 || backup?.type !== 'file') return;
    const frames = replay.leftFrames;
    const { path } = backup.settings;
    this.#log.warn(
      `${frames} ${plural(frames, 'frame stays', 'frames stay')} in the backup below ${path}: ${why}; Kahe does not send ${plural(frames, 'it', 'them')}: use kahe replay`,
      { reason: why, frames, file: path },
    );
  }

  /** Parts that no actor has had. */
  #dropNext(): void {
    if (this.#next !== undefined) closeNow(this.#next.parts);
    this.#next = undefined;
  }
}
