// One node of the fake cluster: a listening port. The requests of a connection are served one after another,
// as Kafka does.
import { once } from 'node:events';
import net from 'node:net';
import { freePorts } from './freePorts.js';
import { WireWriter } from './wire.js';

/** The answer's bytes, silence, or the end of the connection. */
export type Reply = Buffer | 'silence' | 'close';

/** What a node asks of its cluster. */
export interface FakeNodeOwner {
  /** Returns the number of a new connection. */
  connected(): number;
  /** One whole request, without its length; a thrown error ends the connection and is kept as a problem. */
  serve(node: number, connection: number, request: Buffer): Promise<Reply>;
  failed(error: unknown): void;
}

export class FakeNode {
  readonly id: number;
  readonly port: number;
  readonly sockets = new Set<net.Socket>();
  readonly #owner: FakeNodeOwner;
  #server: net.Server | undefined;

  static async listening(id: number, owner: FakeNodeOwner): Promise<FakeNode> {
    const [port] = await freePorts(1);
    const node = new FakeNode(id, port!, owner);
    await node.listen();
    return node;
  }

  private constructor(id: number, port: number, owner: FakeNodeOwner) {
    this.id = id;
    this.port = port;
    this.#owner = owner;
  }

  async listen(): Promise<void> {
    if (this.#server?.listening) return;
    this.#server = net.createServer((socket) => void this.#converse(socket)).listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Stops listening and resets its connections. */
  async close(): Promise<void> {
    if (!this.#server?.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.sockets) socket.resetAndDestroy();
    await closed;
  }

  async #converse(socket: net.Socket): Promise<void> {
    const connection = this.#owner.connected();
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
    // Ends the loop below as well, which then tells of it.
    socket.on('error', () => undefined);
    try {
      await this.#answerAll(socket, connection);
    } catch (error) {
      if (!isDisconnect(error)) this.#owner.failed(error);
    } finally {
      socket.destroy();
    }
  }

  async #answerAll(socket: net.Socket, connection: number): Promise<void> {
    let pending = Buffer.alloc(0);
    for await (const chunk of socket) {
      pending = Buffer.concat([pending, chunk as Buffer]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const end = 4 + pending.readInt32BE(0);
        const reply = await this.#owner.serve(this.id, connection, pending.subarray(4, end));
        pending = pending.subarray(end);
        if (reply === 'close') return;
        if (reply !== 'silence') socket.write(new WireWriter().int32(reply.length).bytes(reply).toBuffer());
      }
    }
  }
}

function isDisconnect(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
}
