// A daemon under load in front of a Kafka that misbehaves: what every fault test does before and after its
// fault. Promise: when close() resolves, every frame is accounted for, and memory, open files and the log
// were looked at.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { PIECE_BYTES } from '../../src/streams/backup/pieceReader.js';
import { filesOf, startDaemon, type DaemonOptions, type TestDaemon } from '../../support/daemon.js';
import type { KafkaNode } from '../../support/kafkaNode.js';
import { fileStream, kafkaStream } from '../../support/daemonBuckets.js';
import {
  appendRecord,
  endOffset,
  partitionEnd,
  isFull,
  judge,
  Workload,
  type JudgeOptions,
  type Verdict,
  type WorkloadPlan,
} from './oracle.js';

/** What stands between a Kafka that is away and loss. */
export const ARRANGEMENTS = [
  'no spool, no backup',
  'spool',
  'spool and backup',
  'spool and backup with replay',
] as const;
export type Arrangement = (typeof ARRANGEMENTS)[number];

/** A full run has every arrangement, a quick one those that it names. */
export function arrangements(...quick: readonly Arrangement[]): readonly Arrangement[] {
  return isFull ? ARRANGEMENTS : quick;
}

/** Frames of a batch, so also of what is in flight for one partition. */
export const BATCH = 100;
export const PARTITIONS = 3;
/**
 * Frames of the piece of a backup that is in flight while it is replayed: the usual ones have a message of
 * 512 bytes.
 */
const PIECE = Math.ceil(PIECE_BYTES / 512);

export interface StageOptions {
  readonly fault: string;
  readonly arrangement: Arrangement;
  /** For the daemon. */
  readonly bootstrap: string;
  /** For reading back, when `bootstrap` is that of a proxy. Default: `bootstrap`. */
  readonly readFrom?: string;
  readonly topics: readonly string[];
  /** Of the Kafka stream, more than or instead of a short `message.timeout.ms`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly plan?: Partial<WorkloadPlan>;
  /** Frames of a batch. Default BATCH. */
  readonly batch?: number;
  /**
   * The daemon may have so many files open more than before the fault, beside one for each bucket's backup.
   * Default 0.
   */
  readonly moreOpenFiles?: number;
}

/** A partition and its leader. */
export interface LedPartition {
  readonly partition: number;
  readonly node: KafkaNode;
}

export interface Ending extends Partial<Omit<JudgeOptions, 'workloads' | 'daemon' | 'bootstrap'>> {
  /** How often the fault happened. Default 1. */
  readonly runs?: number;
  readonly note?: string;
  /** Frames can't be confirmed, for a bucket is stuck for good. Default false. */
  readonly isStuck?: boolean;
}

const MB = 1024 ** 2;
const PEAK_MB = 250;
const DEADLINE_MS = 90_000;
const LOOP_WATCH = new URL('./loopWatch.mjs', import.meta.url).href;
/** In the daemon's folder. */
const LOOP_FILE = 'event-loop.json';

export class Stage {
  readonly #options: StageOptions;
  daemon: TestDaemon;
  readonly workload: Workload;
  /** Daemons that were killed. */
  readonly #earlier: TestDaemon[] = [];
  #openFiles = 0;
  #peakRssBytes = 0;
  #recoverMs: number | undefined;

  private constructor(options: StageOptions, daemon: TestDaemon) {
    this.#options = options;
    this.daemon = daemon;
    this.workload = new Workload({ buckets: options.topics, ...options.plan });
  }

  /** The daemon runs, and nothing was sent yet. */
  static async open(options: StageOptions): Promise<Stage> {
    return new Stage(options, await startDaemon(daemonOf(options)));
  }

  /**
   * As open, and then the load has begun and frames arrive; what is open now is what should be open at the
   * end.
   */
  static async underLoad(options: StageOptions): Promise<Stage> {
    const stage = await Stage.open(options);
    await stage.load();
    await stage.delivers();
    stage.#openFiles = stage.daemon.openFiles - stage.workload.connections;
    return stage;
  }

  async load(): Promise<void> {
    await this.workload.start(this.daemon);
  }

  /** kill -9 under load; the next daemon starts in the same folder, and new clients write to it. */
  async restarts(): Promise<void> {
    const killed = this.daemon;
    this.#peakRssBytes = Math.max(this.#peakRssBytes, killed.peakRssBytes);
    await killed.kill9();
    this.#earlier.push(killed);
    this.daemon = await startDaemon({ ...daemonOf(this.#options), folder: killed.folder });
    await this.load();
  }

  /** Resolves when so many more frames were taken from the clients. */
  async sends(more: number): Promise<void> {
    await this.workload.sends(this.daemon, more, DEADLINE_MS);
  }

  /** Resolves when all that was sent until now is confirmed, and so, without a spool, out of memory. */
  async confirms(): Promise<void> {
    await this.workload.confirmed(this.daemon, DEADLINE_MS);
  }

  /** Resolves when each topic has got something more than it has now. */
  async delivers(topics: readonly string[] = this.#options.topics): Promise<void> {
    const from = this.#options.readFrom ?? this.#options.bootstrap;
    await this.#getMore(
      `each of ${topics.join(', ')}`,
      topics.map((topic) => () => endOffset(from, topic)),
    );
  }

  /** As delivers, of partitions of the one topic, of which others may have no leader. */
  async deliversTo(partitions: readonly LedPartition[]): Promise<void> {
    const [topic] = this.#options.topics as [string];
    const ends = partitions.map(
      ({ node, partition }) =>
        () =>
          partitionEnd(node.address, topic, partition),
    );
    await this.#getMore(`each of the ${ends.length} partitions of ${topic}`, ends);
  }

  async #getMore(where: string, endsOf: readonly (() => Promise<number>)[]): Promise<void> {
    // Not there for a moment, as a topic or a leader may be, is as good as nothing.
    const ends = () => Promise.all(endsOf.map((end) => end().catch(() => undefined)));
    let before: (number | undefined)[] | undefined;
    await this.daemon.until(
      `more in ${where}`,
      async () => {
        const now = await ends();
        if (now.includes(undefined)) return false;
        before ??= now;
        return now.every((end, i) => end! > before![i]!);
      },
      DEADLINE_MS,
    );
  }

  /** As delivers, right after the end of a fault: the longest of these times is in the record. */
  async recovers(topics?: readonly string[]): Promise<void> {
    const startedMs = Date.now();
    await this.delivers(topics);
    this.#recoverMs = Math.max(this.#recoverMs ?? 0, Date.now() - startedMs);
  }

  /**
   * Resolves when every bucket, or each of these, has left mode normal, or was cut off in sending its backup;
   * counted from the `from`th log line.
   */
  async fails(topics: readonly string[] = this.#options.topics, from = 0): Promise<void> {
    await Promise.all(
      topics.map((topic) =>
        this.daemon.line(
          new RegExp(
            `/bucket\\.${topic}/stream\\.kafka (switched to backup|delivery stopped|the backup is not sent yet)`,
          ),
          { from, deadlineMs: DEADLINE_MS },
        ),
      ),
    );
  }

  get hasBackup(): boolean {
    return this.#options.arrangement.startsWith('spool and backup');
  }

  get hasSpool(): boolean {
    return this.#options.arrangement !== 'no spool, no backup';
  }

  get hasReplay(): boolean {
    return this.#options.arrangement === 'spool and backup with replay';
  }

  /**
   * Ends the load and the daemon, judges, and notes what was seen. Fails when anything is not as promised.
   */
  async close({ runs = 1, note, isStuck = false, ...rules }: Ending): Promise<Verdict> {
    const { fault, arrangement, topics } = this.#options;
    const { daemon, workload } = this;
    await workload.end({ asks: !isStuck });
    if (!isStuck) await this.#settles();
    const peakRssMb = Math.round(Math.max(this.#peakRssBytes, daemon.peakRssBytes) / MB);
    const exit = await daemon.stop();
    const inFlight = topics.length * PARTITIONS * BATCH;
    const replayed = this.hasReplay ? topics.length * PIECE : 0;
    const verdict = await judge({
      workloads: [workload],
      daemon,
      earlier: this.#earlier,
      topics,
      bootstrap: this.#options.readFrom ?? this.#options.bootstrap,
      duplicatesAtMost: runs * (inFlight + replayed),
      // A replay sends the frames of a backup in other pieces than they came in, and so perhaps to another
      // partition.
      keylessDisorderedAtMost: this.hasBackup ? runs * inFlight : 0,
      ...rules,
    });
    const { sent, lost, duplicated, keylessDisordered } = verdict;
    appendRecord({
      fault,
      arrangement,
      size: isFull ? 'full' : 'quick',
      runs,
      sent,
      lost,
      duplicated,
      keylessDisordered,
      recoverMs: this.#recoverMs,
      peakRssMb,
      loopDelayP99Ms: loopDelayOf(daemon),
      ...(note === undefined ? {} : { note }),
    });
    expect(verdict.problems).toEqual([]);
    expect(exit.code).toBe(0);
    expect(peakRssMb).toBeLessThan(PEAK_MB);
    return verdict;
  }

  /**
   * Nothing waits any more, in the spool or (with replay) in the backup, and what the fault made the daemon
   * open is closed.
   */
  async #settles(): Promise<void> {
    const { daemon } = this;
    const folders = ['spool', ...(this.hasReplay ? ['backup'] : [])];
    for (const folder of folders) {
      await daemon.until(
        `no file below ${folder}`,
        async () => (await filesOf(`${daemon.folder}/${folder}`)).length === 0,
        DEADLINE_MS,
      );
    }
    if (this.#openFiles === 0) return;
    const most =
      this.#openFiles +
      (this.hasBackup ? this.#options.topics.length : 0) +
      (this.#options.moreOpenFiles ?? 0);
    await daemon.until(`at most ${most} open files`, () => daemon.openFiles <= most, DEADLINE_MS);
  }
}

/** Gives up soon, so that tests are short. */
const HASTY = {
  'message.timeout.ms': 1500,
  'socket.timeout.ms': 1000,
  'request.timeout.ms': 1000,
  'socket.connection.setup.timeout.ms': 1500,
};

/** Written when it ended in an orderly way. */
function loopDelayOf({ folder }: TestDaemon): number | undefined {
  try {
    return (JSON.parse(readFileSync(path.join(folder, LOOP_FILE), 'utf8')) as { readonly p99Ms: number })
      .p99Ms;
  } catch {
    return undefined;
  }
}

function bucketsOf({ arrangement, bootstrap, topics, settings = {}, batch = BATCH }: StageOptions): object {
  const replay = arrangement === 'spool and backup with replay' ? 'auto' : 'manual';
  const backup = arrangement.startsWith('spool and backup')
    ? { backup: { ...fileStream('backup'), replay } }
    : {};
  return {
    streamsConfigs: { kafka: kafkaStream(bootstrap, { ...HASTY, ...settings }, backup) },
    buckets: topics.map((id) => ({ id, streams: ['kafka'], batch, batchTimeout: 50 })),
  };
}

function daemonOf(options: StageOptions): DaemonOptions {
  return {
    buckets: bucketsOf(options),
    env: { ...envOf(options), NODE_OPTIONS: `--import ${LOOP_WATCH}`, KAHE_LOOP_FILE: LOOP_FILE },
  };
}

function envOf({ arrangement, env = {} }: StageOptions): Record<string, string> {
  return {
    STOP_TIMEOUT: '10s',
    ...(arrangement === 'no spool, no backup' ? {} : { SPOOL: './spool' }),
    ...env,
  };
}
