// Prints what a topic of the local Kafka (run.ts) holds now, one message a line, partition after partition.
import { readTopic } from '../../support/kafkaReader.js';

const [topic, bootstrap = process.env['KAFKA_BOOTSTRAP'] ?? '127.0.0.1:9092'] = process.argv.slice(2);
if (topic === undefined) {
  console.error('usage: npx tsx test/kafka/read.ts TOPIC [HOST:PORT]');
  process.exit(2);
}
try {
  for (const [partition, messages] of await readTopic(bootstrap, topic, { deadlineMs: 5_000 })) {
    for (const { offset, timestamp, key, value } of messages) {
      const shown = [
        `${partition}:${offset}`,
        new Date(timestamp).toISOString(),
        key?.toString() ?? '-',
        value?.toString() ?? '-',
      ];
      console.log(shown.join('\t'));
    }
  }
} catch (error) {
  console.error(`Cannot read topic ${topic} at ${bootstrap}: ${(error as Error).message}`);
  process.exitCode = 1;
}
