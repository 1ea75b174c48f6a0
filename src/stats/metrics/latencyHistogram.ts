// How long Kafka takes to answer, as Prometheus has histograms. prom-client's own can only be filled one
// observation at a time; this one shows what was counted where the requests are made.
import type { Histogram, MetricValueWithName, Registry } from 'prom-client';
import { LATENCY_BOUNDS } from '../../kafka/brokerStats.js';
import type { BrokerSnapshot } from '../snapshot.js';

type Values = MetricValueWithName<'broker'>[];

export class LatencyHistogram {
  readonly name = 'kahe_kafka_request_duration_seconds';
  readonly help = 'Time from a produce request to its answer';
  readonly labels = ['broker', 'le'];
  #values: Values = [];

  constructor(registry: Registry) {
    // Of a metric the registry uses its name and `get`, and its types ask for more.
    registry.registerMetric(this as unknown as Histogram<'broker'>);
  }

  fill(brokers: readonly BrokerSnapshot[]): void {
    this.#values = brokers.flatMap((broker) => valuesOf(this.name, broker));
  }

  get(): Promise<object> {
    return Promise.resolve({
      name: this.name,
      help: this.help,
      type: 'histogram',
      aggregator: 'sum',
      values: this.#values,
    });
  }
}

function valuesOf(name: string, { name: broker, latency, latencySumSeconds }: BrokerSnapshot): Values {
  let count = 0;
  const steps = latency.map((requests, step) => ({
    metricName: `${name}_bucket`,
    labels: { broker, le: LATENCY_BOUNDS[step] ?? '+Inf' },
    value: (count += requests),
  }));
  return [
    ...steps,
    { metricName: `${name}_sum`, labels: { broker }, value: latencySumSeconds },
    { metricName: `${name}_count`, labels: { broker }, value: count },
  ];
}
