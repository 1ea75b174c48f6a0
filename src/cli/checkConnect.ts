// Does every Kafka that is configured work from here? Each is asked for the topics of its buckets; then every
// broker that it names is connected to, for that is what delivering does, and every bootstrap server. A
// refused login is not tried at others: brokers lock accounts.
import { systemClock } from '../clock.js';
import type { BucketsConfig } from '../config/buckets.js';
import { messageOf } from '../errors.js';
import { Log } from '../log/log.js';
import { plural } from '../plural.js';
import type { KafkaBroker } from '../config/kafka/brokerList.js';
import { Cluster, type TopicLayout } from '../kafka/cluster.js';
import { KafkaFailure } from '../kafka/failure.js';
import { BrokerConnection } from '../kafka/brokerConnection.js';
import type { KafkaSettings } from '../config/kafka/settings.js';
import { targetsOf } from './checkPlaces.js';
import { type Probed, failure, ok, warning } from './probed.js';
import { counted } from './units.js';

const DEADLINE_MS = 15_000;
/** Asked for where no topic is known by name; whether there is one makes no difference. */
const ANY_TOPIC = 'kahe-check';

interface KafkaTarget {
  readonly name: string;
  readonly settings: KafkaSettings;
  /** None: those of the default bucket alone, whose names are not known. */
  readonly topics: readonly string[];
}

/** What came of asking for a topic. */
interface Asked {
  readonly topic: string;
  readonly layout: TopicLayout | undefined;
  readonly problem: KafkaFailure | Error | undefined;
}

/** Never rejects; takes 30 s at most. */
export async function probeKafkas(config: BucketsConfig): Promise<readonly Probed[]> {
  return (await Promise.all(kafkaTargets(config).map((target) => probeKafka(target)))).flat();
}

function kafkaTargets(config: BucketsConfig): KafkaTarget[] {
  return targetsOf(config).flatMap(({ name, id, target }) => {
    const topics = config.buckets.filter(({ streams }) => streams.includes(id)).map((bucket) => bucket.id);
    return target.type === 'kafka' ? [{ name, settings: target.settings, topics }] : [];
  });
}

async function probeKafka({ name, settings, topics }: KafkaTarget): Promise<Probed[]> {
  // A check must not make topics.
  const cluster = new Cluster({ ...settings, allowAutoCreateTopics: false }, QUIET, systemClock);
  const what = `${name}, Kafka ${settings.bootstrapServers.map(nameOf).join(',')}`;
  try {
    const asked = await Promise.all(
      (topics.length === 0 ? [ANY_TOPIC] : topics).map((topic) => ask(cluster, topic)),
    );
    const answers = asked.filter(({ problem }) => problem === undefined || isOfTopic(problem));
    // Nobody is there, or lets us in.
    if (answers.length === 0) return [failure(what, messageOf(asked[0]!.problem))];
    const [brokers, servers] = await Promise.all([
      Promise.all(
        [...cluster.nodes].map(([nodeId, broker]) =>
          probeBroker(cluster, { nodeId, broker, leads: leadersOf(nodeId, asked, topics) }),
        ),
      ),
      Promise.all(otherServers(settings, cluster).map((server) => probeServer(server, settings))),
    ]);
    const problems = [...brokers, ...servers].filter((each) => each !== undefined);
    return [
      ...(problems.length > 0 ? [] : [ok(what, reachedText(cluster.nodes.size, settings))]),
      ...(topics.length === 0 ? [] : asked.map((each) => topicLine(what, each))),
      ...problems.map((problem) => ({ what, ...problem })),
    ];
  } finally {
    cluster.close();
  }
}

function reachedText(brokers: number, { security: { sasl } }: KafkaSettings): string {
  const login = sasl === undefined ? '' : ` and takes the login of user ${JSON.stringify(sasl.username)}`;
  return `its ${counted(brokers, 'broker')} ${plural(brokers, 'is', 'are')} reached${login}`;
}

async function ask(cluster: Cluster, topic: string): Promise<Asked> {
  try {
    return { topic, layout: await withinDeadline(cluster.ask(topic)), problem: undefined };
  } catch (error) {
    return { topic, layout: undefined, problem: error as Error };
  }
}

function isOfTopic(problem: Error): boolean {
  return problem instanceof KafkaFailure && problem.code === 'TOPIC';
}

function topicLine(what: string, { topic, layout, problem }: Asked): Probed {
  if (layout === undefined) return failure(what, messageOf(problem));
  const unled = layout.leaders.filter((leader) => leader < 0).length;
  const line = unled === 0 ? ok : unled < layout.leaders.length ? warning : failure;
  return line(
    what,
    `topic ${topic} has ${counted(layout.leaders.length, 'partition')}${unled === 0 ? '' : `, of which ${unled} ${plural(unled, 'has', 'have')} no leader now`}`,
  );
}

/** Of those topics that were asked for; undefined: any may be led by it. */
function leadersOf(
  nodeId: number,
  asked: readonly Asked[],
  topics: readonly string[],
): readonly string[] | undefined {
  return topics.length === 0
    ? undefined
    : asked.filter(({ layout }) => layout?.leaders.includes(nodeId)).map(({ topic }) => topic);
}

type Problem = Pick<Probed, 'state' | 'says'>;

/** As it is advertised. @returns undefined: it is reached */
async function probeBroker(
  cluster: Cluster,
  {
    nodeId,
    broker,
    leads,
  }: { readonly nodeId: number; readonly broker: KafkaBroker; readonly leads: readonly string[] | undefined },
): Promise<Problem | undefined> {
  try {
    await withinDeadline(cluster.connection(nodeId));
    return undefined;
  } catch (error) {
    const told = `node ${nodeId} of the cluster says that it is ${nameOf(broker)} (its advertised.listeners): ${messageOf(error)}`;
    if (leads?.length === 0)
      return { state: 'warning', says: `${told}; it leads no partition of these topics now, but it may` };
    return {
      state: 'failure',
      says: `${told}; ${leads === undefined ? 'what it leads' : `what it leads of ${leads.join(', ')}`} can't be delivered`,
    };
  }
}

/** Those that are not among the brokers that are probed anyway. */
function otherServers({ bootstrapServers }: KafkaSettings, cluster: Cluster): readonly KafkaBroker[] {
  const nodes = new Set([...cluster.nodes.values()].map(nameOf));
  return bootstrapServers.filter((server) => !nodes.has(nameOf(server)));
}

/** Others of bootstrap.servers work. @returns undefined: this one too */
async function probeServer(server: KafkaBroker, settings: KafkaSettings): Promise<Problem | undefined> {
  try {
    const connection = await withinDeadline(BrokerConnection.open(server, settings, QUIET));
    connection.destroy(new KafkaFailure('CONNECTION', 'it was a check'));
    return undefined;
  } catch (error) {
    return {
      state: 'warning',
      says: `bootstrap server ${nameOf(server)} is of no use: ${messageOf(error)}; the others do: start it, or take it out of bootstrap.servers`,
    };
  }
}

const QUIET = new Log('FATAL', () => undefined);

function nameOf({ host, port }: KafkaBroker): string {
  return `${host}:${port}`;
}

async function withinDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
