// Does every Kafka that is configured answer? Each is asked for the topics of its buckets.
import { systemClock } from '../clock.js';
import type { BucketsConfig } from '../config/buckets.js';
import { messageOf } from '../errors.js';
import { Log } from '../log.js';
import { Cluster } from '../streams/kafka/cluster.js';
import { KafkaFailure } from '../streams/kafka/failure.js';
import type { KafkaSettings } from '../streams/kafka/settings.js';
import { targetsOf } from './checkPlaces.js';
import { type Probed, failure, ok } from './probed.js';

const DEADLINE_MS = 15_000;
/** Asked for where no topic is known by name; whether there is one makes no difference. */
const ANY_TOPIC = 'kahe-check';

/** Never rejects; takes 15 s at most. */
export async function probeKafkas(config: BucketsConfig): Promise<readonly Probed[]> {
  return (await Promise.all(kafkaTargets(config).map((target) => probeKafka(target)))).flat();
}

interface KafkaTarget {
  readonly name: string;
  readonly settings: KafkaSettings;
  readonly topics: readonly string[];
}

function kafkaTargets(config: BucketsConfig): KafkaTarget[] {
  return targetsOf(config).flatMap(({ name, id, target }) => {
    const topics = config.buckets.filter(({ streams }) => streams.includes(id)).map((bucket) => bucket.id);
    return target.type === 'kafka' ? [{ name, settings: target.settings, topics }] : [];
  });
}

async function probeKafka({ name, settings, topics }: KafkaTarget): Promise<Probed[]> {
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
    return (led > 0 ? ok : failure)(what, topic === undefined ? 'it answers' : `topic ${topic} has ${partitions}${led < leaders.length ? `, of which ${leaders.length - led} have no leader now` : ''}`);
  } catch (error) {
    if (topic === undefined && error instanceof KafkaFailure && error.code === 'TOPIC') return ok(what, 'it answers');
    return failure(what, messageOf(error));
  }
}

async function withinDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
