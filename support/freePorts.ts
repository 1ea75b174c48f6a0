// Ports for brokers that stay free while a broker is down: below the range from which the kernel takes the
// ports of outgoing connections, so that no client's reconnect can sit on (or, on loopback, connect to itself
// at) the port of a broker that is away.
import { once } from 'node:events';
import net from 'node:net';

const LOWEST = 15_000;
const HIGHEST = 32_000;
const ATTEMPTS_PER_PORT = 50;

/** `count` different ports of 127.0.0.1 on which nothing listens now. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count; attempt++) {
    if (attempt > count * ATTEMPTS_PER_PORT)
      throw new Error(`no ${count} free ports found between ${LOWEST} and ${HIGHEST}`);
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

/** The first of `count` ports that follow each other, as freePorts. */
export async function freePortsInARow(count: number): Promise<number> {
  for (;;) {
    const [first] = (await freePorts(1)) as [number];
    const others = Array.from({ length: count - 1 }, (_, index) => isFree(first + 1 + index));
    if (!(await Promise.all(others)).includes(false)) return first;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
