// A statsd server that only adds up: what it was sent over real UDP, by name.
import { createSocket, type Socket } from 'node:dgram';
import { onTestFinished, vi } from 'vitest';

export class StatsdServer {
  readonly counters = new Map<string, number>();
  readonly gauges = new Map<string, number>();
  /** Every value, in order. */
  readonly timings = new Map<string, number[]>();
  /** Packets, by their bytes. */
  readonly packetBytes: number[] = [];
  /** Lines that are none of statsd's. */
  readonly strange: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (packet) => {
      this.packetBytes.push(packet.length);
      for (const line of packet.toString().split('\n')) this.#take(line);
    });
  }

  /** Gone after the test. @param port 0: any */
  static async start(port = 0): Promise<StatsdServer> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
    await new Promise<void>((resolve, reject) =>
      socket.once('error', reject).bind(port, '127.0.0.1', resolve),
    );
    const server = new StatsdServer(socket);
    onTestFinished(() => server.close());
    return server;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Packets come when they come, also behind the end of who sent them. @throws Error after 10 s */
  async until(what: string, is: () => boolean): Promise<void> {
    await vi.waitFor(
      () => {
        if (!is())
          throw new Error(`there was never ${what}: ${JSON.stringify([...this.counters].slice(0, 40))}`);
      },
      { timeout: 10_000, interval: 10 },
    );
  }

  close(): void {
    try {
      this.#socket.close();
    } catch {
      // Closed already.
    }
  }

  #take(line: string): void {
    const [, name, value, type] =
      /^((?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9_-]+):(\d+(?:\.\d+)?)\|(c|g|ms)$/.exec(line) ?? [];
    if (name === undefined) return void this.strange.push(line);
    if (type === 'c') this.counters.set(name, (this.counters.get(name) ?? 0) + Number(value));
    else if (type === 'g') this.gauges.set(name, Number(value));
    else this.timings.set(name, [...(this.timings.get(name) ?? []), Number(value)]);
  }
}
