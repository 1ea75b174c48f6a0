// Does everything that is configured answer? Every Kafka cluster is asked for the topics of its buckets, every folder is written to.
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../clock.js';
import type { BackupConfig, BucketsConfig, StreamConfig } from '../config/buckets.js';
import type { Environment } from '../config/env.js';
import { nodeFileSystem } from '../disk/fileSystem.js';
import { explained } from '../disk/ioAdvice.js';
import { proveWritable } from '../disk/proof.js';
import { Log } from '../log.js';
import { Cluster } from '../streams/kafka/cluster.js';
import { KafkaFailure } from '../streams/kafka/failure.js';
import type { KafkaSettings } from '../streams/kafka/settings.js';

export interface Probed {
  readonly what: string;
  readonly isWell: boolean;
  readonly says: string;
}

const DEADLINE_MS = 15_000;
/** Asked for where no topic is known by name; whether there is one makes no difference. */
const ANY_TOPIC = 'kahe-check';

/** Never rejects; takes 15 s at most. */
export async function probeAll(environment: Environment, config: BucketsConfig): Promise<readonly Probed[]> {
  const kafka = kafkaTargets(config).map(({ name, settings, topics }) => probeKafka(name, settings, topics));
  const folders = [...folderUses(environment, config)].map(([folder, uses]) => probeFolder(folder, uses.join(', ')));
  return (await Promise.all([...kafka, ...folders])).flat();
}

interface KafkaTarget {
  readonly name: string;
  readonly settings: KafkaSettings;
  readonly topics: readonly string[];
}

function targetsOf({ streamsConfigs }: BucketsConfig): { readonly name: string; readonly id: string; readonly target: StreamConfig | BackupConfig }[] {
  return Object.values(streamsConfigs).flatMap((stream) => {
    const { id, backup } = stream;
    return [{ name: `stream ${id}`, id, target: stream }, ...(backup === undefined ? [] : [{ name: `backup of stream ${id}`, id, target: backup }])];
  });
}

function kafkaTargets(config: BucketsConfig): KafkaTarget[] {
  return targetsOf(config).flatMap(({ name, id, target }) => {
    const topics = config.buckets.filter(({ streams }) => streams.includes(id)).map((bucket) => bucket.id);
    return target.type === 'kafka' ? [{ name, settings: target.settings, topics }] : [];
  });
}

async function probeKafka(name: string, settings: KafkaSettings, topics: readonly string[]): Promise<Probed[]> {
  // A check must not make topics.
  const cluster = new Cluster({ ...settings, allowAutoCreateTopics: false }, new Log('FATAL', () => undefined), systemClock);
  const what = `${name}, Kafka ${settings.bootstrapServers.map(({ host, port }) => `${host}:${port}`).join(',')}`;
  try {
    if (topics.length === 0) return [await probeTopic(cluster, what, undefined)];
    return await Promise.all(topics.map((topic) => probeTopic(cluster, what, topic)));
  } finally {
    cluster.close();
  }
}

async function probeTopic(cluster: Cluster, what: string, topic: string | undefined): Promise<Probed> {
  try {
    const { leaders } = await withinDeadline(cluster.ask(topic ?? ANY_TOPIC));
    const led = leaders.filter((leader) => leader >= 0).length;
    const partitions = `${leaders.length} partition${leaders.length === 1 ? '' : 's'}`;
    return { what, isWell: led > 0, says: topic === undefined ? 'it answers' : `topic ${topic} has ${partitions}${led < leaders.length ? `, of which ${leaders.length - led} have no leader now` : ''}` };
  } catch (error) {
    if (topic === undefined && error instanceof KafkaFailure && error.code === 'TOPIC') return { what, isWell: true, says: 'it answers' };
    return { what, isWell: false, says: (error as Error).message };
  }
}

async function withinDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function folderUses({ spool, rejected, socket }: Environment, config: BucketsConfig): Map<string, string[]> {
  const uses = new Map<string, string[]>();
  const add = (folder: string, use: string): void => void uses.set(folder, [...(uses.get(folder) ?? []), use]);
  add(dirname(socket.path), 'socket');
  if (spool !== undefined) add(spool.path, 'spool');
  add(rejected.path, 'rejected frames');
  for (const { name, target } of targetsOf(config)) if (target.type === 'file') add(target.settings.path, name);
  return uses;
}

async function probeFolder(folder: string, use: string): Promise<Probed> {
  const what = `${use}, folder ${folder}`;
  try {
    const there = nearestThere(folder);
    await proveWritable(nodeFileSystem, there, 0);
    return { what, isWell: true, says: there === folder ? 'it can be written' : `it is not there yet; it can be made, for ${there} can be written` };
  } catch (error) {
    return { what, isWell: false, says: explained(error) };
  }
}

/** The folder, or the nearest one above it that is there: Kahe makes what lacks. */
function nearestThere(folder: string): string {
  const facts = statSync(folder, { throwIfNoEntry: false });
  if (facts === undefined && dirname(folder) !== folder) return nearestThere(dirname(folder));
  if (facts?.isDirectory() !== true) throw new Error(`${folder} is not a folder; move it away`);
  return folder;
}
