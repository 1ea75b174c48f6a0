// Which partitions of a topic can't be written just now: they have no leader, or one that is not reached.
import type { Cluster } from '../../kafka/cluster.js';
import { KafkaFailure } from '../../kafka/failure.js';

/** In place of the node that leads a partition. */
export const NO_LEADER = -1;

/**
 * @returns by partition: why
 * @throws KafkaFailure what concerns more than one node
 */
export async function unreachedPartitions(
  cluster: Pick<Cluster, 'connection'>,
  topic: string,
  leaders: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const nodes = [...new Set(leaders)].filter((leader) => leader !== NO_LEADER);
  const problems = await Promise.all(
    nodes.map(async (node) => cluster.connection(node).then(() => undefined, whyUnreached)),
  );
  const why = new Map(nodes.map((node, i) => [node, problems[i]]));
  why.set(NO_LEADER, nodes.length > 0 ? 'it has no leader' : `no partition of topic ${topic} has a leader`);
  const away = leaders.map((leader, partition) => [partition, why.get(leader)] as const);
  return new Map(away.filter((each): each is readonly [number, string] => each[1] !== undefined));
}

/** @throws KafkaFailure what concerns more than this node */
function whyUnreached(failure: unknown): string {
  if (failure instanceof KafkaFailure && (failure.code === 'CONNECTION' || failure.code === 'TIMEOUT'))
    return failure.message;
  throw failure;
}
