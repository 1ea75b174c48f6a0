// Metrics of Kafka's brokers; how long they take is in latencyHistogram.ts.
import type { Metric } from './metric.js';
import type { BrokerSnapshot } from '../snapshot.js';

export const KAFKA_METRICS: readonly Metric[] = [
  ofBroker(
    'counter',
    'kahe_kafka_requests_total',
    'Produce requests that were sent',
    ({ requests }) => requests,
  ),
  ofBroker(
    'counter',
    'kahe_kafka_record_batches_total',
    'Record batches in these',
    ({ recordBatches }) => recordBatches,
  ),
  ofBroker(
    'counter',
    'kahe_kafka_request_bytes_total',
    'Bytes of these record batches, compressed',
    ({ bytes }) => bytes,
  ),
  {
    type: 'counter',
    name: 'kahe_kafka_errors_total',
    help: "Errors, by Kafka's name for them, or as CONNECTION, TIMEOUT, AUTH, TOPIC or PROTOCOL",
    labels: ['broker', 'code'],
    read: ({ brokers }) =>
      brokers.flatMap(({ name: broker, errors }) =>
        Object.entries(errors).map(([code, count]) => [{ broker, code }, count] as const),
      ),
  },
  ofBroker('gauge', 'kahe_kafka_connections', 'Connections that are open', ({ open }) => open),
  ofBroker('counter', 'kahe_kafka_connections_total', 'Connections that were made', ({ opened }) => opened),
];

function ofBroker(
  type: Metric['type'],
  name: string,
  help: string,
  value: (broker: BrokerSnapshot) => number,
): Metric {
  return {
    type,
    name,
    help,
    labels: ['broker'],
    read: ({ brokers }) => brokers.map((broker) => [{ broker: broker.name }, value(broker)]),
  };
}
