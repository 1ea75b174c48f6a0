// One stream of one bucket as the daemon runs it: its parts, its actor, and what is to be seen of it. Its
// configuration may change while it lives: then all that is not settled goes back to the backlog, and the new
// parts are fed from there, in order.
import type { ActorContext, ActorRef } from '../actors/actor.js';
import type { StreamLook } from './bucketRecord.js';
import type { BucketStream } from './bucketStreams.js';
import type { BucketMessage } from './messages.js';
import type { StreamConfig } from '../config/buckets.js';
import type { Batch } from '../frames/batch.js';
import type { Origins } from '../frames/origins.js';
import type { Log } from '../log/log.js';
import type { StreamParts } from '../streams/streamParts.js';
import type { Account } from '../streams/account.js';
import { plural } from '../plural.js';
import { type BackupLedger, backupPlace } from '../streams/backup/backupLedger.js';
import { StreamActor } from '../streams/streamActor.js';
import type { StreamMessage } from '../streams/streamMessage.js';
import type { LeftOverEnd, StreamActorOptions } from '../streams/streamOptions.js';
import type { BatchSource } from '../streams/waiting.js';

/** What outlives the stream, should it end and come again: its account above all. */
export interface StreamRecord extends StreamLook {
  readonly ledger: BackupLedger;
}

export interface LiveStreamOptions {
  /** Of its bucket. */
  readonly context: ActorContext<BucketMessage>;
  readonly record: StreamRecord;
  readonly makeParts: (config: StreamConfig, record: StreamRecord, log: Log) => StreamParts;
  /** What must have ended before its files may be opened. */
  readonly after: Promise<unknown>;
  readonly source: BatchSource;
  /** Milliseconds since the epoch; Infinity: the daemon is not being stopped. */
  readonly stopAtMs: () => number;
  /** What could be delivered nowhere; `isTakenOut`: nobody will ask for it in the daemon's next life. */
  readonly onLeftOver: (batch: Batch, reason: string, isTakenOut: boolean, log: Log) => Promise<LeftOverEnd>;
  readonly origins: Origins | undefined;
  readonly now: () => number;
}

interface Form {
  readonly config: StreamConfig;
  readonly parts: StreamParts;
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

export class LiveStream implements BucketStream {
  readonly id: string;
  readonly account: Account;
  readonly ref: ActorRef<StreamMessage>;
  readonly #options: LiveStreamOptions;
  readonly #log: Log;
  #form: Form;
  /** What the next actor is made of. */
  #next: Form | undefined;
  #markTurned: () => void = () => undefined;
  #endsAtMs = Infinity;

  constructor(config: StreamConfig, options: LiveStreamOptions) {
    const { context, record } = options;
    const name = `stream.${config.id}`;
    this.id = config.id;
    this.account = record.account;
    this.#options = options;
    this.#log = context.log.at(`${context.path}/${name}`);
    this.#form = this.#newForm(config);
    this.ref = context.spawn<StreamMessage>(name, (inner) => new StreamActor(inner, this.#actorOptions()));
    this.#show();
    void this.ref.stopped.then(() => this.#afterEnd());
  }

  get type(): string {
    return this.config.type;
  }

  get config(): StreamConfig {
    return (this.#next ?? this.#form).config;
  }

  async change(config: StreamConfig): Promise<void> {
    this.#dropNext();
    this.#markTurned();
    const next = (this.#next = this.#newForm(config));
    const turned = new Promise<void>((resolve) => (this.#markTurned = resolve));
    this.ref.tell({
      kind: 'configure',
      options: this.#optionsOf(next),
      withinMs: CHANGE_MS,
      onTaken: () => this.#turn(),
    });
    await Promise.race([turned, this.ref.stopped]);
  }

  endBy(atMs: number): void {
    this.#endsAtMs = atMs;
  }

  get #isTakenOut(): boolean {
    return this.#endsAtMs !== Infinity;
  }

  #newForm(config: StreamConfig): Form {
    return { config, parts: this.#options.makeParts(config, this.#options.record, this.#log) };
  }

  /**
   * Asked for whenever an actor is made: the first one, or one after a failure, which has the newest parts.
   */
  #actorOptions(): StreamActorOptions {
    this.#turn();
    return this.#optionsOf(this.#form);
  }

  #optionsOf({ config, parts: { primary, backup, replay } }: Form): StreamActorOptions {
    const { after, record, source, onLeftOver, origins, stopAtMs, now } = this.#options;
    return {
      primary,
      backup,
      replay,
      beforeOpen: async () => {
        await after;
        record.ledger.turnTo(backupPlace(config));
      },
      slice: config.slice,
      retryMs: RETRY_MS,
      errorRetryMs: ERROR_RETRY_MS,
      stopTimeoutMs: () => Math.min(stopAtMs(), this.#endsAtMs) - now(),
      endReason: () =>
        this.#isTakenOut ? `stream ${this.id} was taken out of the configuration` : 'the daemon stopped',
      onLeftOver: (batch, reason) => onLeftOver(batch, reason, this.#isTakenOut, this.#log),
      origins,
      source,
      account: record.account,
      stats: record.watch,
    };
  }

  #turn(): void {
    if (this.#next === undefined) return;
    if (this.#next.config.backup === undefined) this.#sayWhatStays('it has no backup any more');
    // Closed already, unless the actor has failed before it could.
    close(this.#form);
    this.#form = this.#next;
    this.#next = undefined;
    this.#show();
    this.#markTurned();
  }

  #show(): void {
    const { record } = this.#options;
    const { config, parts } = this.#form;
    record.type = config.type;
    record.backupType = config.backup?.type;
    record.backedUp = parts.backedUp;
    record.ref = this.ref;
  }

  #afterEnd(): void {
    this.#dropNext();
    const { record } = this.#options;
    if (record.ref === this.ref) record.watch.end();
    if (this.#isTakenOut) this.#sayWhatStays('the stream was taken out of the configuration');
  }

  #sayWhatStays(why: string): void {
    const {
      config: { backup },
      parts: { replay },
    } = this.#form;
    if (replay === undefined || replay.leftFrames === 0 || backup?.type !== 'file') return;
    this.#log.warn(
      `${replay.leftFrames} ${plural(replay.leftFrames, 'frame stays', 'frames stay')} in the backup below ${backup.settings.path}, and nobody sends ${plural(replay.leftFrames, 'it', 'them')}: ${why}; use kahe replay`,
    );
  }

  /** Parts that no actor has had. */
  #dropNext(): void {
    if (this.#next !== undefined) close(this.#next);
    this.#next = undefined;
  }
}

function close({ parts: { primary, backup } }: Form): void {
  void primary.close({ deadlineMs: 0 });
  void backup?.close({ deadlineMs: 0 });
}
