// From a stream's configuration to the stream itself. Kafka streams that may share a cluster do.
import type { Clock } from '../clock.js';
import type { BackupConfig, StreamConfig } from '../config/buckets.js';
import type { FileSystem } from '../disk/fileSystem.js';
import type { Log } from '../log/log.js';
import type { MemoryBudget } from '../memory/memoryBudget.js';
import type { FileSettings } from '../config/fileSettings.js';
import { FileStream } from './file/fileStream.js';
import type { DiscardedFile } from './file/ownFiles.js';
import { Cluster } from '../kafka/cluster.js';
import { BrokerStats } from '../kafka/brokerStats.js';
import { KafkaStream } from './kafka/kafkaStream.js';
import { Semaphore } from './kafka/semaphore.js';
import { Sender } from './kafka/sender.js';
import type { KafkaSettings } from '../config/kafka/settings.js';
import type { Stream } from './stream.js';
import type { RejectedFrames } from '../losses/rejection.js';
import type { StreamStats } from './streamStats.js';

export interface StreamPlace {
  /** The bucket's name. */
  readonly bucket: string;
  /** The stream's id in the configuration; a backup's is that of its primary with `.backup` behind. */
  readonly streamId: string;
  readonly log: Log;
  /** Told of each file that went for `maxFiles`. */
  readonly onDiscard: (discarded: DiscardedFile) => void;
  /** Of a backup that a replay will send: see FileStreamOptions. */
  readonly onFound?: (frames: number) => void;
  /** Of a Kafka stream: see KafkaStreamOptions. */
  readonly stats?: StreamStats;
}

export interface StreamMakerParts {
  readonly budget: MemoryBudget;
  readonly rejected: RejectedFrames;
  readonly log: Log;
  readonly clock: Clock;
  readonly fs: FileSystem;
  /** MAXCPUS: how many compressions run on libuv's threads at the same time. */
  readonly maxCpus: number;
}

export class StreamMaker {
  readonly #clusters = new Map<string, { cluster: Cluster; sender: Sender; users: number }>();

  readonly #semaphore: Semaphore;
  /** Of all clusters. */
  readonly brokerStats = new BrokerStats();

  constructor(readonly parts: StreamMakerParts) {
    this.#semaphore = new Semaphore(parts.maxCpus);
  }

  make(config: StreamConfig | BackupConfig, place: StreamPlace): Stream {
    if (config.type === 'kafka') return this.#kafka(config.settings, place);
    return this.makeFile(config.settings, place);
  }

  makeFile(settings: FileSettings, place: StreamPlace): FileStream {
    const { clock, fs } = this.parts;
    return new FileStream({ ...place, settings, clock, fs });
  }

  #kafka(settings: KafkaSettings, { bucket, log, stats }: StreamPlace): Stream {
    const { budget, rejected, clock } = this.parts;
    const shared = this.#share(settings);
    const onClosed = () => this.#leave(settings.clusterKey);
    return new KafkaStream({
      topic: bucket,
      settings,
      cluster: shared.cluster,
      sender: shared.sender,
      budget,
      rejected,
      semaphore: this.#semaphore,
      log,
      clock,
      onClosed,
      stats,
    });
  }

  #share(settings: KafkaSettings): { cluster: Cluster; sender: Sender } {
    let shared = this.#clusters.get(settings.clusterKey);
    if (shared === undefined) {
      const cluster = new Cluster(settings, this.parts.log.at('/kafka'), this.parts.clock, this.brokerStats);
      this.#clusters.set(
        settings.clusterKey,
        (shared = { cluster, sender: new Sender(cluster, this.parts.clock), users: 0 }),
      );
    }
    shared.users++;
    return shared;
  }

  #leave(clusterKey: string): void {
    const shared = this.#clusters.get(clusterKey);
    if (shared === undefined || --shared.users > 0) return;
    shared.cluster.close();
    this.#clusters.delete(clusterKey);
  }
}
