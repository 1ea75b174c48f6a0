// The snapshot in the Prometheus format. Each metric says in one place what it is called, what it means and
// where in the snapshot it stands; docs/metrics.md is compared with this.
import type { Metric } from './metric.js';
import { Counter, Gauge, Registry } from 'prom-client';
import { LatencyHistogram } from './latencyHistogram.js';
import { KAFKA_METRICS } from './kafkaMetrics.js';
import { PROCESS_METRICS } from './processMetrics.js';
import { RELOAD_METRICS } from './reloadMetrics.js';
import { SOCKET_METRICS } from './socketMetrics.js';
import { STREAM_METRICS } from './streamMetrics.js';
import type { Snapshot } from '../snapshot.js';

export const METRICS: readonly Metric[] = [
  ...SOCKET_METRICS,
  ...STREAM_METRICS,
  ...KAFKA_METRICS,
  ...RELOAD_METRICS,
  ...PROCESS_METRICS,
];

/** Of one metric: they take about a millisecond. */
const MANY_SAMPLES = 200;

export class Metrics {
  readonly #registry = new Registry();
  readonly #filled: readonly { readonly metric: Metric; readonly target: Counter | Gauge }[];
  readonly #latency: LatencyHistogram;
  #rendering: Promise<unknown> = Promise.resolve();

  constructor() {
    const registers = [this.#registry];
    this.#filled = METRICS.map((metric) => {
      const { name, help, labels } = metric;
      const options = { name, help, labelNames: [...labels], registers };
      return { metric, target: metric.type === 'counter' ? new Counter(options) : new Gauge(options) };
    });
    this.#latency = new LatencyHistogram(this.#registry);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Name, type, help and labels of each: what docs/metrics.md lists. */
  async described(): Promise<
    readonly {
      readonly name: string;
      readonly type: string;
      readonly help: string;
      readonly labels: readonly string[];
    }[]
  > {
    const labels = new Map<string, readonly string[]>(METRICS.map((metric) => [metric.name, metric.labels]));
    const found = await this.#registry.getMetricsAsJSON();
    return found.map(({ name, type, help }) => ({
      name,
      type: String(type),
      help,
      labels: labels.get(name) ?? this.#latency.labels,
    }));
  }

  /** One snapshot after the other, each whole: the registry has room for one. */
  text(snapshot: Snapshot): Promise<string> {
    const rendered = this.#rendering.then(() => this.#render(snapshot));
    this.#rendering = rendered.catch(() => undefined);
    return rendered;
  }

  /** Frames come between two metrics: thousands of streams take a while. */
  async #render(snapshot: Snapshot): Promise<string> {
    const texts: string[] = [];
    for (const { metric, target } of this.#filled) {
      target.reset();
      // A reset gives a metric without labels a 0, whether there is a value or not.
      if (metric.labels.length === 0) target.remove({});
      const samples = metric.read(snapshot);
      for (const [labels, value] of samples) target.inc(labels, value);
      texts.push(await this.#registry.getSingleMetricAsString(metric.name));
      if (samples.length >= MANY_SAMPLES) await turnOfLoop();
    }
    this.#latency.fill(snapshot.brokers);
    texts.push(await this.#registry.getSingleMetricAsString(this.#latency.name));
    return `${texts.join('\n\n')}\n`;
  }
}

function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
