// A Kafka to play with: one broker on 127.0.0.1:9092 that makes topics by itself, until Ctrl-C. Its topics are kept in
// .cache/kafka/data, so that they are there again the next time; remove that folder to begin anew.
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import path from 'node:path';
import { fetchKafka, LocalNode } from '../support/kafkaNode.js';
import { brokerProperties } from '../support/kafkaProperties.js';

const PORT = 9092;
const DATA = path.resolve(import.meta.dirname, '../../.cache/kafka/data');
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
  properties: { ...brokerProperties(ports, [ports]), 'auto.create.topics.enable': 'true', 'num.partitions': '3' },
  scramCredentials: [],
});
await node.prepare();
await node.start();
console.log(`Apache Kafka listens on ${node.address}. Topics are made when first written to, with 3 partitions.

  bootstrap.servers   ${node.address}
  data                ${DATA} (kept; remove it to begin anew)
  broker's log        ${node.logFile}

To read a topic:      npx tsx test/kafka/read.ts TOPIC
To end:               Ctrl-C`);

const isAsked = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]).then(() => true);
if (!(await Promise.race([isAsked, node.exited().then(() => false)]))) {
  console.error(`The broker has ended by itself; ${node.logFile} says why.`);
  process.exit(1);
}
console.log('\nStopping ...');
await node.stop();
process.exit(0);

async function refuseIfTaken(): Promise<void> {
  for (const port of [ports.plain, ports.internal, ports.controller]) {
    const probe = net.createServer().listen(port, '127.0.0.1');
    try {
      await once(probe, 'listening');
    } catch (error) {
      console.error(`Port ${port} of 127.0.0.1 is taken (${(error as Error).message}): is a Kafka running already?`);
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
