// What is counted of each broker, whichever cluster asks it: requests, their bytes, how long they took, what
// went wrong, connections. Filled once a request, and once a connection; read by whoever reports.

/** Upper bounds of the latency's steps, in seconds; what took longer is counted in the last one. */
export const LATENCY_BOUNDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
] as const;

export class BrokerCounters {
  /** Produce requests that were sent, and the bytes of their record batches. */
  requests = 0;
  bytes = 0;
  recordBatches = 0;
  /** Requests by how long the answer took: one more than there are bounds. */
  readonly latency: number[] = Array.from({ length: LATENCY_BOUNDS.length + 1 }, () => 0);
  latencySumSeconds = 0;
  /** By Kafka's name of the error of a partition, or the code of a KafkaFailure. */
  readonly errors = new Map<string, number>();
  /** Connections that are open, and all that ever were. */
  open = 0;
  opened = 0;

  sent(recordBatches: number, bytes: number): void {
    this.requests++;
    this.recordBatches += recordBatches;
    this.bytes += bytes;
  }

  answered(ms: number): void {
    const seconds = ms / 1000;
    const step = LATENCY_BOUNDS.findIndex((bound) => seconds <= bound);
    this.latency[step === -1 ? LATENCY_BOUNDS.length : step]!++;
    this.latencySumSeconds += seconds;
  }

  failed(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }
}

export class BrokerStats {
  readonly #brokers = new Map<string, BrokerCounters>();

  /** By `host:port`. */
  get brokers(): ReadonlyMap<string, Readonly<BrokerCounters>> {
    return this.#brokers;
  }

  of({ host, port }: { readonly host: string; readonly port: number }): BrokerCounters {
    const name = `${host}:${port}`;
    let counters = this.#brokers.get(name);
    if (counters === undefined) this.#brokers.set(name, (counters = new BrokerCounters()));
    return counters;
  }
}
