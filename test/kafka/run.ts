// A Kafka to play with: one broker on 127.0.0.1:9092 (KAFKA_PORT says another port) with the topic of
// buckets.json, until Ctrl-C. Its topics are kept in .cache/kafka/data, so that they are there again the next
// time; remove that folder to begin anew.
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import path from 'node:path';
import { fetchKafka, LocalNode } from '../../support/kafkaNode.js';
import { isKafkaError } from '../../support/kafkajsBroker.js';
import { brokerProperties } from '../../support/kafkaProperties.js';
import { createTopic } from '../../support/kafkaTopics.js';

const DEFAULT_PORT = 9092;
const PORT = port();
/** The bucket of the buckets.json that comes with Kahe. */
const TOPIC = 'requests';
const PARTITIONS = 3;
const DATA = path.resolve(
  import.meta.dirname,
  '../../.cache/kafka',
  PORT === DEFAULT_PORT ? 'data' : `data-${PORT}`,
);
/** Kept beside the data, which only opens with the same id. */
const CLUSTER_ID_FILE = path.join(DATA, 'cluster.id');

const ports = { plain: PORT, advertised: PORT, internal: PORT + 1, controller: PORT + 2, sasl: 0, ssl: 0 };

await refuseIfTaken();
fetchKafka();
const node = new LocalNode({
  id: 1,
  clusterId: clusterId(),
  folder: DATA,
  port: PORT,
  internalPort: ports.internal,
  properties: {
    ...brokerProperties(ports, [ports]),
    'auto.create.topics.enable': 'true',
    'num.partitions': String(PARTITIONS),
  },
  scramCredentials: [],
});
await node.prepare();
await node.start();
await createTopic([node.address], TOPIC, { partitions: PARTITIONS }).catch((error: unknown) => {
  // Of the run before.
  if (!isKafkaError(error, 'TOPIC_ALREADY_EXISTS')) throw error;
});
console.log(`Apache Kafka listens on ${node.address}, with the topic ${TOPIC}. Others are made when a client asks for them to be made, as Kahe
does with "allow.auto.create.topics": true.

  bootstrap.servers   ${node.address}
  data                ${DATA} (kept; remove it to begin anew)
  broker's log        ${node.logFile}

To deliver to it:     in buckets.json take in the stream "kafka"${PORT === DEFAULT_PORT ? '' : `, with "bootstrap.servers": "${node.address}"`}, and put it into the streams of
                      the bucket "${TOPIC}"; then start "make run" anew
To read a topic:      npx tsx test/kafka/read.ts ${TOPIC}${PORT === DEFAULT_PORT ? '' : ` ${node.address}`}
To end:               Ctrl-C`);

const isAsked = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]).then(() => true);
if (!(await Promise.race([isAsked, node.exited().then(() => false)]))) {
  console.error(`The broker has ended by itself; ${node.logFile} says why.`);
  process.exit(1);
}
console.log('\nStopping ...');
await node.stop();
process.exit(0);

function port(): number {
  const text = process.env['KAFKA_PORT'] || String(DEFAULT_PORT);
  const number = Number(text);
  // The next two are taken too.
  if (Number.isInteger(number) && number >= 1 && number <= 65_533) return number;
  console.error(`KAFKA_PORT: "${text}" is no port; 1 to 65533 are`);
  process.exit(2);
}

async function refuseIfTaken(): Promise<void> {
  for (const each of [ports.plain, ports.internal, ports.controller]) {
    const probe = net.createServer().listen(each, '127.0.0.1');
    try {
      await once(probe, 'listening');
    } catch (error) {
      console.error(
        `Port ${each} of 127.0.0.1 is taken (${(error as Error).message}): is a Kafka running already? Another port: make kafka KAFKA_PORT=19092`,
      );
      process.exit(1);
    }
    probe.close();
  }
}

function clusterId(): string {
  if (!existsSync(CLUSTER_ID_FILE)) {
    mkdirSync(DATA, { recursive: true });
    writeFileSync(CLUSTER_ID_FILE, randomBytes(16).toString('base64url'));
  }
  return readFileSync(CLUSTER_ID_FILE, 'utf8');
}
