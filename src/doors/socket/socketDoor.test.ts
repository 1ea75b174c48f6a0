// The contract of a door, kept by the Unix socket, with real connections.
import { mkdtemp, rm } from 'node:fs/promises';
import { type Socket, createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MB } from '../../../support/bench.js';
import { type DoorClient, type DoorUnderTest, doorContract } from '../../../support/doorContract.js';
import { turn } from '../../../support/fakeClock.js';
import { framesOf } from '../../../support/frames.js';
import { encodeFrame } from '../../frames/frame.js';
import { bindSocket } from '../../net/namedSocket.js';
import type { DoorCounts } from '../doorCounts.js';
import { SocketDoor } from './socketDoor.js';

doorContract('SocketDoor', async (): Promise<DoorUnderTest> => {
  const folder = await mkdtemp(join(tmpdir(), 'kahe-door-'));
  const path = join(folder, 'kahe.sock');
  const socket = await bindSocket({ setting: 'SOCKET', path, mode: 0o600, groupId: undefined });
  const door = new SocketDoor({ socket, maxFrameBytes: MB });
  let counts: DoorCounts;
  const open = door.open.bind(door);
  door.open = (entrance) => {
    counts = entrance.counts;
    open(entrance);
  };
  const clients: Peer[] = [];
  return {
    door,
    async connect() {
      const before = counts.accepted;
      const client = new Peer(await connected(path));
      clients.push(client);
      while (counts.accepted === before) await turn();
      return client;
    },
    isShut: () =>
      connected(path).then(
        (late) => (late.destroy(), false),
        () => true,
      ),
    async cleanup() {
      for (const client of clients) client.leave();
      await rm(folder, { recursive: true, force: true });
    },
  };
});

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => resolve(socket)).on('error', reject);
  });
}

class Peer implements DoorClient {
  readonly #socket: Socket;
  readonly #received: Buffer[] = [];
  isGone = false;
  #rest = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket
      .on('data', (chunk: Buffer) => this.#received.push(chunk))
      .on('close', () => (this.isGone = true))
      .on('error', () => undefined);
  }

  send(bucket: string, messages: readonly string[]): void {
    this.#socket.write(framesOf(bucket, messages));
  }

  sendHalf(bucket: string, message: string): void {
    const frame = encodeFrame(bucket, null, message);
    const half = Math.max(5, frame.length - 50 * 1024);
    this.#socket.write(frame.subarray(0, half));
    this.#rest = Buffer.from(frame.subarray(half));
  }

  sendRest(): void {
    this.#socket.write(this.#rest);
  }

  sendBad(): void {
    this.#socket.write(Buffer.from([3, 0, 0, 0, 200, 1, 2]));
  }

  ask(): void {
    this.#socket.write(Buffer.alloc(4));
  }

  leave(): void {
    this.#socket.destroy();
  }

  get answers(): readonly number[] {
    const bytes = Buffer.concat(this.#received);
    return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) =>
      Number(bytes.readBigUInt64LE(i * 8)),
    );
  }
}
