// How long Kafka takes to answer, as Prometheus has histograms. prom-client's own can only be filled one observation at a time; this one shows
// what was counted where the requests are made.
import { Histogram, type MetricObjectWithValues, type MetricValueWithName, type Registry } from 'prom-client';
import { LATENCY_BOUNDS } from '../streams/kafka/kafkaFigures.js';
import type { BrokerSnapshot } from './snapshot.js';

const NAME = 'kahe_kafka_request_duration_seconds';
type Values = MetricObjectWithValues<MetricValueWithName<'broker'>>;

export class LatencyHistogram {
  readonly labels = ['broker', 'le'];
  readonly #shown: ShownHistogram;

  constructor(registry: Registry) {
    this.#shown = new ShownHistogram({ name: NAME, help: 'Time from a produce request to its answer', labelNames: ['broker'], buckets: [...LATENCY_BOUNDS], registers: [registry] });
  }

  fill(brokers: readonly BrokerSnapshot[]): void {
    this.#shown.shown = brokers.flatMap(valuesOf);
  }
}

class ShownHistogram extends Histogram<'broker'> {
  shown: Values['values'] = [];

  override async get(): Promise<Values> {
    return { ...(await super.get()), values: this.shown };
  }
}

function valuesOf({ name: broker, latency, latencySumSeconds }: BrokerSnapshot): Values['values'] {
  let count = 0;
  const steps = latency.map((requests, step) => ({ metricName: `${NAME}_bucket`, labels: { broker, le: LATENCY_BOUNDS[step] ?? '+Inf' }, value: (count += requests) }));
  return [
    ...steps,
    { metricName: `${NAME}_sum`, labels: { broker }, value: latencySumSeconds },
    { metricName: `${NAME}_count`, labels: { broker }, value: count },
  ];
}
