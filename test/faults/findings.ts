// Where frames ended, seen from outside: what Kafka holds, and the files below the daemon's folders. Nothing
// of it asks the daemon.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { readFiles, type Frame } from '../../support/daemonFrames.js';
import { withBroker } from '../../support/kafkajsBroker.js';
import { readTopic, type ReadOptions } from '../../support/kafkaReader.js';

export const PLACES = ['kafka', 'backup', 'spool', 'rejected'] as const;
export type Place = (typeof PLACES)[number];

/**
 * Frames that stand one behind the other: of one partition, or of all files of a bucket, in the order in
 * which these were made.
 */
export interface FoundList {
  readonly place: Place;
  /** The topic; of a file the bucket that the frames name. */
  readonly bucket: string;
  readonly partition: number | undefined;
  readonly frames: readonly Frame[];
}

/** Everything that the topics hold now. */
export async function findInKafka(
  bootstrap: string,
  topics: readonly string[],
  options: ReadOptions = {},
): Promise<FoundList[]> {
  const found: FoundList[] = [];
  for (const topic of topics) {
    for (const [partition, messages] of await readTopic(bootstrap, topic, options)) {
      const frames = messages.map(({ key, value }) => ({
        bucket: topic,
        key: key?.toString(),
        message: (value ?? '').toString(),
      }));
      found.push({ place: 'kafka', bucket: topic, partition, frames });
    }
  }
  return found;
}

/**
 * The .bckstm files below a folder, by bucket; a folder that is not there holds none.
 * @throws Error for a file that is torn
 */
export async function findInFiles(place: Exclude<Place, 'kafka'>, folder: string): Promise<FoundList[]> {
  const byBucket = new Map<string, Frame[]>();
  for (const frame of await readFiles(folder)) {
    const list = byBucket.get(frame.bucket);
    if (list === undefined) byBucket.set(frame.bucket, [frame]);
    else list.push(frame);
  }
  return [...byBucket].map(([bucket, frames]) => ({ place, bucket, partition: undefined, frames }));
}

export interface Rejection {
  readonly bucket: string;
  readonly reason: string;
  readonly frames: number;
}

/** The lines of all `.reasons.jsonl` files of REJECTED. */
export async function readRejections(folder: string): Promise<Rejection[]> {
  const names = (await readdir(folder).catch(() => []))
    .filter((name) => name.endsWith('.reasons.jsonl'))
    .sort();
  const texts = await Promise.all(names.map((name) => readFile(path.join(folder, name), 'utf8')));
  return texts
    .flatMap((text) => text.split('\n').filter((line) => line !== ''))
    .map((line) => JSON.parse(line) as Rejection);
}

/**
 * How many messages the topic's partitions ever got, in all.
 * @throws Error when the topic or a leader is not there now
 */
export async function endOffset(bootstrap: string, topic: string): Promise<number> {
  const { brokers, topicMetadata } = await withBroker(bootstrap, (broker) => broker.metadata([topic]));
  let sum = 0;
  for (const { leader, partitionId: partition } of topicMetadata[0]?.partitionMetadata ?? []) {
    const node = brokers.find(({ nodeId }) => nodeId === leader);
    if (node === undefined) throw new Error(`${topic}-${partition} has no leader now`);
    sum += await partitionEnd(`${node.host}:${node.port}`, topic, partition);
  }
  return sum;
}

/** How many messages a partition ever got. @param address of its leader, who alone knows */
export async function partitionEnd(address: string, topic: string, partition: number): Promise<number> {
  const request = { topics: [{ topic, partitions: [{ partition, timestamp: LATEST }] }] };
  const { responses } = (await withBroker(address, (broker) => broker.listOffsets(request))) as Offsets;
  return responses
    .flatMap(({ partitions }) => partitions)
    .reduce((all, { offset }) => all + Number(offset), 0);
}
const LATEST = '-1';

interface Offsets {
  readonly responses: readonly { readonly partitions: readonly { readonly offset: string }[] }[];
}
