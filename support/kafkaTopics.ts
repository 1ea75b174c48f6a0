// Making, removing and describing topics, each waiting until the brokers really agree.
import { isKafkaError, withBroker, type TopicMetadata } from './kafkajsBroker.js';

export interface TopicOptions {
  /** Default 1. */
  readonly partitions?: number;
  /** Default: as many as there are brokers. */
  readonly replicationFactor?: number;
  /** Topic settings such as `max.message.bytes`. */
  readonly config?: Readonly<Record<string, string>>;
}

const REQUEST_TIMEOUT_MS = 45_000;
const DEADLINE_MS = 90_000;
const POLL_MS = 20;

/**
 * Resolves when each of the brokers at `addresses` knows the topic, and the leaders of its partitions have
 * taken them up.
 */
export async function createTopic(
  addresses: readonly string[],
  topic: string,
  options: TopicOptions,
): Promise<void> {
  const partitions = options.partitions ?? 1;
  const settings = {
    topic,
    numPartitions: partitions,
    replicationFactor: options.replicationFactor ?? addresses.length,
    configEntries: Object.entries(options.config ?? {}).map(([name, value]) => ({ name, value })),
  };
  await withBroker(addresses.join(','), (broker) =>
    broker.createTopics({ topics: [settings], timeout: REQUEST_TIMEOUT_MS }),
  );
  await everywhere(addresses, `topic ${topic} with ${partitions} leaders`, topic, (metadata) => {
    return metadata?.partitionMetadata.filter(({ leader }) => leader >= 0).length === partitions;
  });
  await until(`the leaders of ${topic} at work`, async () => await areLeadersAtWork(addresses, topic));
}

/** Resolves when none of the brokers at `addresses` knows the topic. */
export async function deleteTopic(addresses: readonly string[], topic: string): Promise<void> {
  await withBroker(addresses.join(','), (broker) =>
    broker.deleteTopics({ topics: [topic], timeout: REQUEST_TIMEOUT_MS }),
  );
  await everywhere(addresses, `topic ${topic} gone`, topic, (metadata) => metadata === undefined);
}

/** Resolves when all replicas of all partitions are in sync. */
export async function waitInSync(addresses: readonly string[], topic: string): Promise<void> {
  await everywhere(addresses, `all replicas of ${topic} in sync`, topic, (metadata) => {
    return (
      metadata?.partitionMetadata.every(
        ({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length,
      ) ?? false
    );
  });
}

/** What the first of the brokers that answers knows; undefined for a topic that does not exist. */
export async function describeTopic(
  addresses: readonly string[],
  topic: string,
): Promise<TopicMetadata | undefined> {
  try {
    return await withBroker(
      addresses.join(','),
      async (broker) => (await broker.metadata([topic])).topicMetadata[0],
    );
  } catch (error) {
    if (isKafkaError(error, 'UNKNOWN_TOPIC_OR_PARTITION')) return undefined;
    throw error;
  }
}

async function everywhere(
  addresses: readonly string[],
  goal: string,
  topic: string,
  isReached: (metadata: TopicMetadata | undefined) => boolean,
): Promise<void> {
  for (const address of addresses) {
    await until(`${goal} at ${address}`, async () => isReached(await describeSettled(address, topic)));
  }
}

async function until(goal: string, isReached: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await isReached())) {
    if (Date.now() > deadline) throw new Error(`not reached within ${DEADLINE_MS / 1000} s: ${goal}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * A broker tells of a new leader a moment before that one accepts requests, so the leaders are asked for an
 * offset.
 */
async function areLeadersAtWork(addresses: readonly string[], topic: string): Promise<boolean> {
  const { brokers, topicMetadata } = await withBroker(addresses.join(','), (broker) =>
    broker.metadata([topic]),
  );
  const byLeader = new Map<number, object[]>();
  for (const { leader, partitionId } of topicMetadata[0]?.partitionMetadata ?? []) {
    byLeader.set(leader, [...(byLeader.get(leader) ?? []), { partition: partitionId, timestamp: LATEST }]);
  }
  try {
    for (const [leader, partitions] of byLeader) {
      const { host, port } = brokers.find(({ nodeId }) => nodeId === leader)!;
      await withBroker(`${host}:${port}`, (broker) =>
        broker.listOffsets({ topics: [{ topic, partitions }] }),
      );
    }
    return true;
  } catch (error) {
    if (isKafkaError(error, 'NOT_LEADER_FOR_PARTITION', 'UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE'))
      return false;
    throw error;
  }
}
const LATEST = '-1';

/** As describeTopic, but a topic with a partition that has no leader now counts as not there. */
async function describeSettled(address: string, topic: string): Promise<TopicMetadata | undefined> {
  try {
    return await describeTopic([address], topic);
  } catch (error) {
    if (isKafkaError(error, 'LEADER_NOT_AVAILABLE')) return undefined;
    throw error;
  }
}
