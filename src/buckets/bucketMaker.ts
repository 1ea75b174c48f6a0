// What a bucket is made of, from its place in the configuration: backlog, streams, limiter, and what they
// count.
import type { ActorContext, ActorRef } from '../actors/actor.js';
import type { Clock } from '../clock.js';
import type { StreamConfig } from '../config/buckets.js';
import type { BucketChange } from '../config/changes.js';
import type { BucketKey } from '../frames/bucketName.js';
import type { Origins } from '../frames/origins.js';
import type { Log } from '../log/log.js';
import type { Discards } from '../losses/discards.js';
import type { RejectedStore } from '../losses/rejectedStore.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { ReadTurns } from '../memory/readTurns.js';
import type { Segment, Spool } from '../spool/spool.js';
import { newAccount } from '../streams/account.js';
import { BackupLedger } from '../streams/backup/backupLedger.js';
import type { StreamMaker } from '../streams/streamMaker.js';
import { makeStreamParts } from '../streams/streamParts.js';
import { StreamStats } from '../streams/streamStats.js';
import type { BatchSource } from '../streams/waiting.js';
import { Backlog } from './backlog.js';
import type { LastingParts } from './bucket.js';
import type { Place } from './bucketPlaces.js';
import type { BucketRecord, BucketRecords, StreamRecord } from './bucketRecord.js';
import { BucketStream } from './bucketStream.js';
import type { Generation } from './generation.js';
import { BucketStreams } from './bucketStreams.js';
import { LeftOvers } from './leftOvers.js';
import { Excess } from './limit/excess.js';
import { Limiter } from './limit/limiter.js';
import { LimitReport } from './limit/limitReport.js';
import { RateWindow } from './limit/rateWindow.js';
import type { BucketMessage, ChangedParts } from './messages.js';
import type { Shutdown } from './shutdown.js';
import type { Taps } from './taps.js';

export interface BucketMakerParts {
  readonly maker: StreamMaker;
  readonly records: BucketRecords;
  readonly taps: Taps;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool;
  /** Segments of a previous run, by bucket; those that a bucket takes over are taken out. */
  readonly left: Map<BucketKey, readonly Segment[]>;
  readonly rejected: RejectedStore;
  readonly discards: Discards;
  readonly origins: Origins;
  readonly log: Log;
  readonly clock: Clock;
  readonly shutdown: Shutdown;
}

/** What outlives a bucket's actor that fails. */
export interface BucketParts extends LastingParts {
  readonly streams: BucketStreams;
}

const NO_CHANGE: Pick<BucketChange, 'added' | 'removed' | 'changed'> = {
  added: [],
  removed: [],
  changed: [],
};

export class BucketMaker {
  readonly parts: BucketMakerParts;
  readonly #leftOvers: LeftOvers;
  readonly #startedAtMs: number;

  constructor(parts: BucketMakerParts) {
    this.parts = parts;
    this.#leftOvers = new LeftOvers(parts);
    this.#startedAtMs = parts.clock.now();
  }

  lastingParts(
    context: ActorContext<BucketMessage>,
    key: BucketKey,
    place: Place,
    record: BucketRecord,
  ): BucketParts {
    const { clock, spool, left, shutdown, origins } = this.parts;
    const backlog = this.#newBacklog(context, record);
    const make = (generation: Generation, after: Promise<unknown>, source: BatchSource): BucketStream =>
      new BucketStream(generation, {
        context,
        after,
        source,
        shutdown,
        leftOvers: this.#leftOvers,
        origins,
        clock,
      });
    const streams = new BucketStreams(
      { backlog, make, hasSpool: spool.safeWhen === 'written', clock, shutdown },
      place.streams.map((config) => this.#newGeneration(record, config, context.path)),
    );
    for (const segment of left.get(key) ?? []) backlog.addLeft(segment);
    // Once: a bucket may end, and come again.
    left.delete(key);
    return { streams, backlog, limiter: this.#newLimiter(record, place, context.log) };
  }

  /** What a reload brings to a bucket that has been there. */
  changedParts(
    record: BucketRecord,
    place: Place,
    { added, removed, changed }: Pick<BucketChange, 'added' | 'removed' | 'changed'> = NO_CHANGE,
    path: string,
  ): ChangedParts {
    const generations = (ids: readonly string[]): Generation[] =>
      place.streams
        .filter(({ id }) => ids.includes(id))
        .map((config) => this.#newGeneration(record, config, path));
    return {
      streams: { removed, changed: generations(changed), added: generations(added) },
      limiter: this.#newLimiter(record, place, this.parts.log.at(path)),
    };
  }

  #newBacklog(context: ActorContext<BucketMessage>, record: BucketRecord): Backlog {
    const { spool, clock, discards, origins } = this.parts;
    const bucket = record.name;
    return (record.backlog = new Backlog({
      streams: [],
      spool,
      notes: spool.notes(bucket),
      log: context.log,
      clock,
      onSettled: () => tellIfThere(context.self),
      onLost: (lost) => discards.add({ bucket, ...lost }),
      closed: record.backlog?.closed,
      origins,
      onUnkept: (batch, from, reason) => this.#leftOvers.keep(batch, from, reason),
    }));
  }

  /** Undefined: the bucket takes whatever comes. */
  #newLimiter(record: BucketRecord, { bucket, streams }: Place, log: Log): Limiter | undefined {
    const { rateLimit } = bucket;
    const { clock, rejected } = this.parts;
    if (rateLimit === undefined) {
      record.limitWindow = undefined;
      return undefined;
    }
    const { frames, perMs } = rateLimit;
    if (record.limitWindow?.perMs !== perMs) record.limitWindow = new RateWindow(perMs);
    record.overLimit ??= { reject: 0 };
    const accounts = streams.map((config) => this.#recordOf(record, config).account);
    return new Limiter({
      frames,
      window: record.limitWindow,
      excess: new Excess(rateLimit, record.name, accounts, rejected),
      report: new LimitReport(rateLimit, record.overLimit, log, clock),
      clock,
    });
  }

  /** @param path of the bucket, in the log */
  #newGeneration(bucket: BucketRecord, config: StreamConfig, path: string): Generation {
    const { maker, rejected, discards, turns, log } = this.parts;
    const record = this.#recordOf(bucket, config);
    const { account, ledger, stats } = record;
    const parts = makeStreamParts(config, {
      maker,
      rejected,
      discards,
      turns,
      bucket: bucket.name,
      account,
      ledger,
      startedAtMs: this.#startedAtMs,
      stats,
      log: log.at(`${path}/stream.${config.id}`),
    });
    return { config, record, parts };
  }

  /** Of the stream with this configuration, new when the bucket never had it. */
  #recordOf({ streams }: BucketRecord, { id, type, backup }: StreamConfig): StreamRecord {
    const known = streams.find((record) => record.id === id);
    if (known !== undefined) return known;
    const account = newAccount();
    const record: StreamRecord = {
      id,
      type,
      backupType: backup?.type,
      account,
      ledger: new BackupLedger(account),
      stats: new StreamStats(() => this.parts.clock.now()),
      ref: undefined,
      backedUp: () => undefined,
    };
    streams.push(record);
    return record;
  }
}

/** What is settled last may be so after the bucket has stopped: then nobody waits for it. */
function tellIfThere(bucket: ActorRef<BucketMessage>): void {
  if (bucket.state !== 'stopped') bucket.tell({ kind: 'settled' });
}
