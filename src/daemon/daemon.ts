// The daemon: which parts there are, and the order in which they start and stop. Nothing else.
import { asBug } from '../errors.js';
import type { ActorRef } from '../actors/actor.js';
import { ActorSystem } from '../actors/system.js';
import { BucketMaker } from '../buckets/bucketMaker.js';
import { BucketRouter, type BucketRouterOptions, type RouterLasting } from '../buckets/bucketRouter.js';
import { LiveBucket } from '../buckets/liveBucket.js';
import type { RouterMessage } from '../buckets/messages.js';
import { Shutdown } from '../buckets/shutdown.js';
import type { BucketKey } from '../frames/bucketName.js';
import { Taps } from '../buckets/taps.js';
import { type Clock, systemClock } from '../clock.js';
import type { BucketsConfig } from '../config/buckets.js';
import type { Environment } from '../config/env.js';
import { type FileSystem, nodeFileSystem } from '../disk/fileSystem.js';
import { ReadTurns } from '../memory/readTurns.js';
import { Discards } from '../losses/discards.js';
import { Origins } from '../frames/origins.js';
import { BucketHistory } from '../stats/bucketHistory.js';
import type { Log } from '../log/log.js';
import { MemoryBudget } from '../memory/memoryBudget.js';
import { type RejectedOptions, RejectedStore } from '../losses/rejectedStore.js';
import type { Door } from '../doors/door.js';
import { Doors } from '../doors/doors.js';
import { DiskSpool } from '../spool/diskSpool.js';
import { NO_SPOOL } from '../spool/noSpool.js';
import type { Segment, Spool } from '../spool/spool.js';
import { type LeftBackup, findLeftBackups } from '../streams/backup/leftBackups.js';
import { StreamMaker } from '../streams/streamMaker.js';
import type { Account } from '../streams/account.js';
import type { AdminDoor } from '../admin/door.js';
import type { ReloadFigures, Snapshot } from '../stats/snapshot.js';
import { takeSnapshot } from '../stats/takeSnapshot.js';

export interface DaemonParts {
  readonly environment: Environment;
  readonly buckets: BucketsConfig;
  /** By which frames come in, in the order in which they open. */
  readonly doors: readonly Door[];
  readonly log: Log;
  readonly clock?: Clock;
  /** The disk under the spool, the files and the rejected frames. */
  readonly fs?: FileSystem;
  /**
   * For snapshots: what is measured when there is somebody to see it, and whether its own sockets can be
   * reached.
   */
  readonly admin?: Pick<AdminDoor, 'eventLoopDelay' | 'problems'>;
  /** For snapshots: how often the configuration was read again. */
  readonly reloads?: () => ReloadFigures;
}

/** What is made before the daemon, because it takes time. */
interface EarlyParts {
  readonly clock: Clock;
  readonly fs: FileSystem;
  readonly budget: MemoryBudget;
  readonly turns: ReadTurns;
  readonly spool: Spool;
  /** Segments of a previous run, by bucket. */
  readonly left: Map<BucketKey, readonly Segment[]>;
  /** Backups of a previous run. */
  readonly leftBackups: readonly LeftBackup[];
}

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #clock: Clock;
  readonly #early: EarlyParts;
  readonly #rejected: RejectedStore;
  readonly #discards: Discards;
  readonly #streams: StreamMaker;
  readonly #router: ActorRef<RouterMessage>;
  readonly #doors: Doors;
  readonly #history = new BucketHistory();
  readonly #shutdown: Shutdown;
  /** For those who want to see frames as they pass. */
  readonly taps: Taps;
  readonly #startedAtMs: number;

  /**
   * Starts everything, in this order: what a part needs is there before it.
   * @throws Error the spool's folder can't be used
   */
  static async start(parts: DaemonParts): Promise<Daemon> {
    const { clock = systemClock, fs = nodeFileSystem } = parts;
    const budget = new MemoryBudget(parts.environment.maxMemoryBytes);
    const turns = new ReadTurns(budget, clock);
    const leftBackups = await findLeftBackups(parts.buckets, fs, parts.log);
    const settings = parts.environment.spool;
    const spool =
      settings === undefined
        ? NO_SPOOL
        : new DiskSpool(settings, { log: parts.log.at('/spool'), clock, budget, turns, fs });
    await spool.lock();
    const left = new Map(await spool.open());
    return new Daemon(parts, { clock, fs, budget, turns, spool, left, leftBackups });
  }

  private constructor(parts: DaemonParts, early: EarlyParts) {
    this.#parts = parts;
    this.#early = early;
    const { environment, log } = parts;
    const { clock, fs, budget } = early;
    this.#clock = clock;
    this.#startedAtMs = clock.now();
    this.#shutdown = new Shutdown(clock, environment.stopTimeoutMs);
    this.taps = new Taps((error) =>
      log.error(`looking at frames failed: ${asBug(error)}`, { reason: String(error) }),
    );
    // 1. A place for what can't be delivered; the bound on memory and the spool are there already.
    const origins = new Origins();
    this.#discards = new Discards(log.at('/discards'), clock);
    const rejected = (this.#rejected = this.#openRejected(origins));
    void rejected.prove();
    // 2. Buckets, each with its streams.
    this.#streams = new StreamMaker({ budget, rejected, log, clock, fs, maxCpus: environment.maxCpus });
    const maker = new BucketMaker({
      ...early,
      maker: this.#streams,
      records: this.#history,
      taps: this.taps,
      rejected,
      discards: this.#discards,
      origins,
      log,
      shutdown: this.#shutdown,
    });
    const system = new ActorSystem(clock, log);
    this.#router = this.#spawnRouter(system, maker);
    // 3. Last the doors: from here on frames are accepted.
    const behind = { system, buckets: this.#router, rejected, origins, budget };
    this.#doors = new Doors(behind, parts.doors);
    this.#doors.open();
  }

  #openRejected(origins: Origins): RejectedStore {
    const { environment, log } = this.#parts;
    const { budget, clock, fs } = this.#early;
    const onDiscarded: RejectedOptions['onDiscarded'] = (discarded) =>
      this.#discards.add({ ...discarded, stream: '*' });
    const where = { log: log.at('/rejected'), clock, fs };
    return new RejectedStore({ ...environment.rejected, budget, origins, onDiscarded, ...where });
  }

  #spawnRouter(system: ActorSystem, maker: BucketMaker): ActorRef<RouterMessage> {
    const { buckets: config, environment } = this.#parts;
    const { left, leftBackups } = this.#early;
    const options: BucketRouterOptions = {
      rejected: this.#rejected,
      maxBuckets: environment.maxBuckets,
      left,
      make: (context, key, place) => new LiveBucket(context, key, place, maker),
    };
    const lasting: RouterLasting = { config, leftBackups, buckets: new Map() };
    return system.spawn<RouterMessage>('', (context) => new BucketRouter(context, options, lasting));
  }

  get heldBytes(): number {
    return this.#early.budget.heldBytes;
  }

  /** Frames that came in, by all doors, and those of them that were bad. */
  get received(): { readonly frames: number; readonly bad: number } {
    return this.#doors.received;
  }

  /** By `bucket/stream`: what became of every frame that its bucket has taken, until now. */
  get accounts(): ReadonlyMap<string, Account> {
    return this.#history.accounts;
  }

  /** Doors by which no client can come in just now, a line each. */
  get unreachable(): readonly string[] {
    return [...this.#doors.problems, ...(this.#parts.admin?.problems ?? [])];
  }

  /** All there is to be seen of it, now. */
  snapshot(): Snapshot {
    return takeSnapshot({
      startedAtMs: this.#startedAtMs,
      nowMs: this.#clock.now(),
      isStopping: this.#shutdown.hasBegun,
      socketPath: this.#parts.environment.socket.path,
      doors: this.#doors.counts,
      budget: this.#early.budget,
      spool: this.#early.spool,
      rejected: this.#rejected,
      discards: this.#discards.counts,
      kafka: this.#streams.brokerStats,
      buckets: this.#history.snapshots,
      unreachable: this.unreachable,
      eventLoopDelay: this.#parts.admin?.eventLoopDelay,
      reloads: this.#parts.reloads?.(),
    });
  }

  /**
   * Takes on another configuration, while frames come. Resolves when every bucket and stream that it changes
   * goes on as it says; what it has no more ends by and by.
   */
  async reload(buckets: BucketsConfig): Promise<void> {
    const leftBackups = await findLeftBackups(buckets, this.#early.fs, this.#parts.log);
    if (this.#shutdown.hasBegun) return;
    const error = await new Promise<Error | undefined>((onTaken) =>
      this.#router.tell({ kind: 'reload', config: buckets, leftBackups, onTaken }),
    );
    if (error !== undefined) throw error;
  }

  /** Ends everything, in this order, so that every frame a part gives away finds the next part alive. */
  async stop(): Promise<void> {
    this.#shutdown.begin();
    // 1. No new clients, by any door; what the others have already sent is read.
    await this.#doors.quiesce(this.#shutdown.plan.readingMs);
    // 2. Buckets close their batches, streams deliver them, or hand them to their backups.
    this.#router.stop();
    await this.#router.stopped;
    // 3. Clients that had asked have their answers now.
    await this.#doors.release();
    // 4. What could be delivered nowhere is kept, and what was thrown away is told.
    await this.#rejected.close();
    this.#discards.close();
    this.#early.spool.close();
  }
}
