// Sends lines over UDP, many to a packet, none over two. An own sender, for the libraries there are bring
// their own environment variables, tags and timers, and lose what could not be sent.
import { type Socket, createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type { Line } from './changes.js';

/** Fits into an Ethernet frame, IPv6 and UDP headers and a tunnel included. */
const PACKET_BYTES = 1432;

interface Address {
  readonly address: string;
  readonly family: number;
}

export class UdpSender {
  readonly #sockets = new Map<number, Socket>();

  constructor(
    readonly host: string,
    readonly port: number,
  ) {}

  /**
   * Asked each time, for a name may lead elsewhere tomorrow. IPv4 first: over UDP nobody would learn that a
   * server listens there alone.
   * @throws Error the name leads to no address
   */
  async address(): Promise<Address> {
    const family = isIP(this.host);
    return family === 0 ? lookup(this.host, { order: 'ipv4first' }) : { address: this.host, family };
  }

  /**
   * One packet after another, each with a turn of the event loop to itself: neither frames nor the receiver
   * are to feel a burst.
   * @throws Error of the first packet that this machine could not send; whether one arrives nobody knows
   */
  async send(lines: readonly Line[], to: Address): Promise<void> {
    for (const packet of packets(lines)) {
      await this.#sendPacket(packet.map(({ text }) => text).join('\n'), to);
      for (const { told } of packet) told();
      await turn();
    }
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  #sendPacket(text: string, { address, family }: Address): Promise<void> {
    const socket = this.#socket(family);
    return new Promise((resolve, reject) => {
      // A socket that can't even be made ready says so here, and never calls back.
      socket.once('error', reject);
      socket.send(text, this.port, address, (error) => {
        socket.off('error', reject);
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #socket(family: number): Socket {
    const known = this.#sockets.get(family);
    if (known !== undefined) return known;
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    socket.unref();
    // One that has failed is of no more use; the next packet has another.
    socket.on('error', () => {
      this.#sockets.delete(family);
      socket.close();
    });
    this.#sockets.set(family, socket);
    return socket;
  }
}

/** The lines in packets of a size that arrives whole. */
export function* packets(lines: readonly Line[]): Generator<readonly Line[]> {
  let packet: Line[] = [];
  let bytes = 0;
  for (const line of lines) {
    const length = Buffer.byteLength(line.text) + 1;
    if (bytes + length > PACKET_BYTES + 1 && packet.length > 0) {
      yield packet;
      [packet, bytes] = [[], 0];
    }
    packet.push(line);
    bytes += length;
  }
  if (packet.length > 0) yield packet;
}
