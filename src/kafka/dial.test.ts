// Connecting to a name with several addresses: each keeps the time there is, whoever else is tried beside it.
import { once } from 'node:events';
import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { messageOf } from '../errors.js';
import { dial, type Dialling } from './dial.js';

const BROKER = { host: 'broker.test', port: 9092 };
const [SLOW, DEAD, OTHER] = ['192.0.2.1', '2001:db8::1', '192.0.2.2'];
const refused = (address: string): Error => new Error(`connect ECONNREFUSED ${address}:9092`);

/** Addresses that answer when the test says so. */
class Addresses implements Dialling {
  readonly sockets = new Map<string, net.Socket>();
  constructor(readonly all: readonly string[]) {}

  readonly addressesOf = (): Promise<{ address: string }[]> =>
    Promise.resolve(this.all.map((address) => ({ address })));
  readonly connect = (address: string): net.Socket => {
    const socket = new net.Socket();
    this.sockets.set(address, socket);
    return socket;
  };

  /** Those that were tried, in order, and are not given up. */
  get tried(): string[] {
    return [...this.sockets].filter(([, { destroyed }]) => !destroyed).map(([address]) => address);
  }
}

const ending = new AbortController();
afterEach(() => expect(ending.signal.aborted).toBe(false));

describe('dial', () => {
  test('a slow address is not given up for one that leads nowhere', async () => {
    const addresses = new Addresses([SLOW, DEAD]);
    const dialled = dial(BROKER, ending.signal, addresses);
    await expect.poll(() => addresses.tried).toEqual([SLOW, DEAD]);
    addresses.sockets.get(DEAD)!.destroy(refused(DEAD));
    await expect.poll(() => addresses.tried).toEqual([SLOW]);
    addresses.sockets.get(SLOW)!.emit('connect');
    expect(await dialled).toBe(addresses.sockets.get(SLOW));
  });

  test('the first that answers is taken, the others are ended; the two kinds of addresses by turns', async () => {
    const addresses = new Addresses([SLOW, OTHER, DEAD]);
    const dialled = dial(BROKER, ending.signal, addresses);
    await expect.poll(() => addresses.tried).toEqual([SLOW, DEAD, OTHER]);
    addresses.sockets.get(OTHER)!.emit('connect');
    expect(await dialled).toBe(addresses.sockets.get(OTHER));
    expect(addresses.tried).toEqual([OTHER]);
  });

  test('one that fails makes room for the next at once; when all have, each says why', async () => {
    const addresses = new Addresses([SLOW, DEAD]);
    const dialled = dial(BROKER, ending.signal, addresses).catch(messageOf);
    for (const address of [SLOW, DEAD]) {
      await expect.poll(() => addresses.tried).toEqual([address]);
      addresses.sockets.get(address)!.destroy(refused(address));
    }
    expect(await dialled).toBe(`${refused(SLOW).message}; ${refused(DEAD).message}`);
  });

  test('whoever has no more time ends all of it', async () => {
    const addresses = new Addresses([SLOW, DEAD]);
    const patience = new AbortController();
    const dialled = dial(BROKER, patience.signal, addresses).catch(messageOf);
    await expect.poll(() => addresses.tried).toEqual([SLOW, DEAD]);
    patience.abort(new Error('the time is over'));
    expect([await dialled, addresses.tried]).toEqual(['the time is over', []]);
  });

  test('connects for real, and says what a name has wrong', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = await dial(
      { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
      ending.signal,
    );
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
    server.close();
    await expect(dial({ host: 'no-such-host.invalid', port: 1 }, ending.signal)).rejects.toThrow(
      /no-such-host\.invalid/,
    );
  });
});

test('messageOf is never empty, whatever failed', () => {
  expect(messageOf(new AggregateError([refused(SLOW), refused(SLOW), refused(DEAD)]))).toBe(
    `${refused(SLOW).message}; ${refused(DEAD).message}`,
  );
  expect(messageOf(new AggregateError([]))).toBe('AggregateError');
  expect(messageOf(Object.assign(new Error(''), { code: 'ETIMEDOUT' }))).toBe('ETIMEDOUT');
  expect(messageOf(new TypeError(''))).toBe('TypeError');
  expect(messageOf('a text')).toBe('a text');
});
