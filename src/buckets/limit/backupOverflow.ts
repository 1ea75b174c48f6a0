// `"over": "backup"`: what is over the limit goes to the backup of each stream of the bucket, in files apart
// from what lies there because the primary was away, for that must be sent first and in order, and this as
// room is left. It is a bucket of its own, whose streams are the backups: batches, receipts, failures and the
// end are as everywhere. It has no spool: its files are as near as that.
import { type ActorContext, type ActorRef, stopAll } from '../../actors/actor.js';
import { Backlog, type Closed } from '../backlog.js';
import { Bucket, type BucketOptions } from '../bucket.js';
import type { BucketMessage } from '../messages.js';
import type { Run } from '../../intake/run.js';
import type { Receipt } from '../../intake/receipt.js';
import type { Clock } from '../../clock.js';
import type { StreamConfig } from '../../config/buckets.js';
import type { Batch } from '../../frames/batch.js';
import type { Origins } from '../../frames/origins.js';
import type { Log } from '../../log/log.js';
import {
  type BackedUp,
  type StreamParts,
  type StreamPartsOptions,
  makeStreamParts,
} from '../../streams/streamParts.js';
import type { Account } from '../../streams/account.js';
import { backupPlace } from '../../streams/backup/backupLedger.js';
import { StreamActor } from '../../streams/streamActor.js';
import type { StreamMessage } from '../../streams/streamMessage.js';
import type { LeftOverEnd, StreamActorOptions } from '../../streams/streamOptions.js';
import type { StreamWatch } from '../../streams/streamStats.js';
import type { Gate } from './gate.js';
import type { Overflow } from './limiter.js';
import type { SurplusLedger } from './surplusLedger.js';
import { SurplusReplay } from './surplusReplay.js';
import { SurplusWatch } from './surplusWatch.js';

/** A stream of the bucket whose backup is to take what is over the limit. */
export interface LimitedStream {
  readonly config: StreamConfig;
  readonly account: Account;
  readonly ledger: SurplusLedger;
  readonly watch: StreamWatch;
}

/** What is to be seen of it there. */
export interface SurplusLook {
  readonly watch: StreamWatch;
  readonly backedUp: () => BackedUp | undefined;
}

export interface BackupOverflowOptions extends Omit<BucketOptions, 'spool' | 'taps' | 'idle'> {
  readonly streams: readonly LimitedStream[];
  readonly gate: Gate;
  readonly shared: Pick<StreamPartsOptions, 'maker' | 'rejected' | 'discards' | 'turns' | 'startedAtMs'>;
  readonly timing: Pick<StreamActorOptions, 'retryMs' | 'errorRetryMs' | 'stopTimeoutMs'>;
  readonly onLeftOver: (batch: Batch, reason: string, log: Log) => Promise<LeftOverEnd>;
  readonly origins: Origins | undefined;
  readonly log: Log;
  /** What was counted of such batches before; it is counted on. */
  readonly closed: Closed;
  /** Frames that stay in a stream's backup when this has ended. */
  readonly onStay: (stream: string, frames: number) => void;
}

export class BackupOverflow implements Overflow {
  readonly backlog: Backlog;
  /** By stream. */
  readonly looks: ReadonlyMap<string, SurplusLook>;
  readonly #bucket: ActorRef<BucketMessage>;
  readonly #options: BackupOverflowOptions;
  readonly #clock: Clock;
  readonly #replays: SurplusReplay[] = [];
  #endsAtMs = Infinity;
  #endReason = 'the daemon stopped';

  /** @param context of the bucket: this lives below it */
  constructor(context: ActorContext<BucketMessage>, options: BackupOverflowOptions) {
    this.#options = options;
    this.#clock = context.clock;
    const { budget, streams } = options;
    const made = streams.map((stream, index) => this.#makeStream(context, options, stream, index));
    this.looks = new Map(made.map(({ look }, index) => [streams[index]!.config.id, look]));
    this.backlog = new Backlog({
      streams: made.map(({ ref }, index) => ({
        id: streams[index]!.config.id,
        type: streams[index]!.config.type,
        account: streams[index]!.account,
        ref,
      })),
      spool: undefined,
      notes: undefined,
      budget,
      log: context.log,
      clock: context.clock,
      onSettled: () => this.#bucket.state !== 'stopped' && this.#bucket.tell({ kind: 'settled' }),
      // Only a spool loses any.
      onLost: () => undefined,
      closed: options.closed,
    });
    const refs = made.map(({ ref }) => ref);
    const lasting = {
      streams: { turnTo: () => Promise.resolve(), end: () => stopAll(refs) },
      backlog: this.backlog,
    };
    this.#bucket = context.spawn<BucketMessage>('over', (inner) => new Bucket(inner, options, lasting));
  }

  take(run: Run): void {
    this.#bucket.tell(run);
  }

  fence(receipt: Receipt): void {
    receipt.hold();
    this.#bucket.tell({ kind: 'fence', receipt });
  }

  /** Once it is stopped: what could not be written within this time is left over, for this reason. */
  endWithin(ms: number, reason: string): void {
    this.#endsAtMs = this.#clock.now() + ms;
    this.#endReason = reason;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#replays.map((replay) => replay.stop()));
    this.#bucket.stop();
    await this.#bucket.stopped;
    for (const { config, ledger } of this.#options.streams) this.#options.onStay(config.id, ledger.end());
  }

  #makeStream(
    context: ActorContext<BucketMessage>,
    options: BackupOverflowOptions,
    stream: LimitedStream,
    index: number,
  ): { readonly ref: ActorRef<StreamMessage>; readonly look: SurplusLook } {
    const { timing, onLeftOver } = options;
    const { config, account, ledger } = stream;
    const name = `over/stream.${config.id}`;
    const log = options.log.at(`${context.path}/${name}`);
    const parts = makeStreamParts(config, {
      ...options.shared,
      bucket: options.name,
      account,
      ledger,
      watch: stream.watch,
      log,
      surplus: options.gate.paceOfSurplus(index),
    });
    ledger.begin(backupPlace(config), () => parts.replay?.leftFrames ?? 0);
    this.#replay(parts, timing.retryMs, context.clock, log);
    const watch = new SurplusWatch(stream.watch, () => context.clock.now());
    const actorOptions: StreamActorOptions = {
      ...timing,
      primary: parts.backup!,
      backup: undefined,
      primaryCounts: 'backedUp',
      slice: config.slice,
      account,
      watch,
      stopTimeoutMs: () => Math.min(timing.stopTimeoutMs(), this.#endsAtMs - context.clock.now()),
      endReason: () => this.#endReason,
      onLeftOver: (batch, reason) => onLeftOver(batch, reason, log),
      origins: options.origins,
    };
    const ref = context.spawn<StreamMessage>(name, (inner) => new StreamActor(inner, actorOptions));
    return { ref, look: { watch, backedUp: parts.backedUp } };
  }

  #replay({ primary, replay, backedUp }: StreamParts, retryMs: number, clock: Clock, log: Log): void {
    if (replay !== undefined)
      this.#replays.push(
        new SurplusReplay({ primary, replay, files: () => backedUp()?.files ?? 0, retryMs, clock, log }),
      );
    // An operator does it: nothing is ever written to the primary here.
    else void primary.close({ deadlineMs: 0 });
  }
}
