// Clients on real sockets: what becomes of their bytes, their questions and their faults, and how the
// listening ends.
import { mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { type Socket, createConnection } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { prefixed } from '../../../support/daemonFrames.js';
import { FakeRejected } from '../../../support/fakeRejected.js';
import { ActorBench, MB } from '../../../support/bench.js';
import { turn } from '../../../support/fakeClock.js';
import { framesIn, framesOf, messagesIn, numbers } from '../../../support/frames.js';
import { newFolder } from '../../../support/newFolder.js';
import { Actor, type ActorContext } from '../../actors/actor.js';
import type { RouterMessage } from '../../buckets/messages.js';
import { endRun, ownRun } from '../../intake/run.js';
import type { BucketKey } from '../../frames/bucketName.js';
import type { Receipt } from '../../intake/receipt.js';
import { encodeFrame } from '../../frames/frame.js';
import { NOBODY, Origins, UNKNOWN } from '../../frames/origins.js';
import { bindSocket } from '../../net/namedSocket.js';
import { type DoorCounts, newDoorCounts } from '../doorCounts.js';
import { Doors } from '../doors.js';
import type { Entrance } from '../entrance.js';
import { SocketDoor } from './socketDoor.js';

const QUESTION = Buffer.alloc(4);

/** Stands where the BucketRouter does: keeps what it is told. */
class Manager extends Actor<RouterMessage> {
  readonly runs: { bucket: BucketKey; messages: string[]; nowMs: number }[] = [];
  /** Of each run. */
  readonly origins: (number | undefined)[] = [];
  readonly fences: { receipt: Receipt; buckets: readonly BucketKey[] | 'all' }[] = [];
  /** Answers each question at once. */
  isQuick = true;
  onRun: () => void = () => undefined;

  constructor(readonly context: ActorContext<RouterMessage>) {
    super();
  }

  receive(message: RouterMessage): void {
    if (message.kind === 'run') {
      const { bucket, chunk, start, end, frames, nowMs, origin } = message;
      const messages = messagesIn(chunk, start, end);
      expect(messages).toHaveLength(frames);
      this.runs.push({ bucket, messages, nowMs });
      this.origins.push(origin);
      endRun(message);
      this.onRun();
    } else if (message.kind === 'fence') {
      this.fences.push({
        receipt: message.receipt,
        buckets: message.buckets === 'all' ? 'all' : [...message.buckets],
      });
      if (this.isQuick) message.receipt.done();
    }
  }

  override keep(message: RouterMessage): RouterMessage {
    return message.kind === 'run' ? ownRun(message) : message;
  }

  drain(): void {
    this.context.drained();
  }

  get messages(): string[] {
    return this.runs.flatMap(({ messages }) => messages);
  }
}

class Bench extends ActorBench {
  /** What the pacer was told. */
  readonly reads: { readonly frames: number; readonly bytes: number }[] = [];
  asked = 0;
  newcomers = 0;
  readonly rejected: { frame: Buffer; reason: string }[] = [];
  readonly path: string;
  manager!: Manager;
  doors!: Doors;
  counts!: DoorCounts;
  /** How far its end is. */
  end: 'not begun' | 'quiescing' | 'quiet' | 'released' = 'not begun';
  readonly #sockets: Socket[] = [];

  readonly origins = new Origins();
  readonly store = new FakeRejected(
    ({ bytes, start, end, reason }) =>
      this.rejected.push({ frame: Buffer.from(bytes.subarray(start, end)), reason }),
    this.origins,
  );

  constructor(
    readonly folder: string,
    readonly maxConnections = 1000,
  ) {
    super({ memoryBytes: 16 * MB });
    this.path = join(folder, 'kahe.sock');
  }

  async listen(): Promise<void> {
    const buckets = this.system.spawn<RouterMessage>(
      'manager',
      (context) => (this.manager = new Manager(context)),
    );
    const { system, origins, store: rejected, budget, maxConnections } = this;
    const socket = await bindSocket({ setting: 'SOCKET', path: this.path, mode: 0o600, groupId: undefined });
    const door = new SocketDoor({ socket, maxFrameBytes: MB, maxConnections });
    const open = door.open.bind(door);
    door.open = (entrance) => {
      this.counts = entrance.counts;
      this.#spyOn(entrance.pacer);
      open(entrance);
    };
    this.doors = new Doors({ system, buckets, rejected, origins, budget }, [door]);
    this.doors.open();
  }

  #spyOn(pacer: Entrance['pacer']): void {
    const [read, asked, accepted] = [
      pacer.read.bind(pacer),
      pacer.asked.bind(pacer),
      pacer.accepted.bind(pacer),
    ];
    pacer.read = (frames, bytes) => {
      this.reads.push({ frames, bytes });
      read(frames, bytes);
    };
    pacer.asked = () => {
      this.asked++;
      asked();
    };
    pacer.accepted = () => {
      this.newcomers++;
      accepted();
    };
  }

  connections(): number {
    return this.counts.open;
  }

  /** A connection, and all that comes back on it. */
  async connect(): Promise<Peer> {
    const socket = createConnection({ path: this.path, allowHalfOpen: true });
    this.#sockets.push(socket);
    const before = this.connections();
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.on('error', () => undefined);
    await until(() => this.connections() > before);
    return new Peer(socket);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.stop();
    await this.stopped();
  }

  /** As the daemon does it. */
  stop(): void {
    if (this.end !== 'not begun') return;
    this.end = 'quiescing';
    void this.doors
      .quiesce(5_000)
      .then(() => ((this.end = 'quiet'), this.doors.release()))
      .then(() => (this.end = 'released'));
  }

  /** Time passes until it is. */
  stopped(): Promise<void> {
    return until(() => (this.clock.advance(10), this.end === 'released'));
  }
}

class Peer {
  readonly #answers: Buffer[] = [];
  hasEnded = false;
  isClosed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#answers.push(chunk));
    socket.on('end', () => (this.hasEnded = true));
    socket.on('close', () => (this.isClosed = true));
  }

  /** Resolves when the kernel has the bytes. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) =>
      this.socket.write(bytes, (error) => (error ? reject(error) : resolve())),
    );
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#answers);
  }

  get answers(): number[] {
    const bytes = Buffer.concat(this.#answers);
    return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) =>
      Number(bytes.readBigUInt64LE(i * 8)),
    );
  }
}

/** Turns of the event loop until it is so; the test's own time limit is the only clock. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

/** So many turns that whatever was to happen at once has happened. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 30; i++) await turn();
}

let folder: string;
let bench: Bench;

beforeEach(async () => {
  folder = newFolder();
  bench = new Bench(folder);
  await bench.listen();
});

afterEach(async () => {
  await bench.close();
  await rm(folder, { recursive: true, force: true });
  expect({ held: bench.budget.heldBytes, awaited: bench.counts.awaited }).toEqual({ held: 0, awaited: 0 });
});

describe('Client: frames', () => {
  test('whole frames come in order, one run for each stretch of one bucket, with the time of their arrival', async () => {
    const peer = await bench.connect();
    await peer.write(Buffer.concat([framesOf('a', ['1', '2']), framesOf('b', ['3']), framesOf('a', ['4'])]));
    await until(() => bench.manager.messages.length === 4);
    const nowMs = bench.clock.now();
    expect(bench.manager.runs).toEqual([
      { bucket: 'a', messages: ['1', '2'], nowMs },
      { bucket: 'b', messages: ['3'], nowMs },
      { bucket: 'a', messages: ['4'], nowMs },
    ]);
    expect(bench.counts).toEqual({ ...newDoorCounts(), open: 1, accepted: 1, received: 4 });
  });

  test('one byte at a time, from three clients at once, each keeps its own', async () => {
    const peers = [await bench.connect(), await bench.connect(), await bench.connect()];
    const streams = peers.map((_, i) => framesOf(`bucket${i}`, numbers(10 + i * 10, 3)));
    for (let at = 0; at < streams[0]!.length; at++) {
      for (const [i, peer] of peers.entries()) await peer.write(streams[i]!.subarray(at, at + 1));
      await turn();
    }
    await until(() => bench.manager.messages.length === 9);
    for (const i of [0, 1, 2]) {
      expect(
        bench.manager.runs
          .filter(({ bucket }) => bucket === `bucket${i}`)
          .flatMap(({ messages }) => messages),
      ).toEqual(numbers(10 + i * 10, 3));
    }
  });

  test('a bad frame is rejected, the first one is logged with its bytes, and the connection goes on', async () => {
    const peer = await bench.connect();
    const bad = Buffer.from([3, 0, 0, 0, 200, 1, 2]);
    const noBucket = Buffer.from([2, 0, 0, 0, 0, 0]);
    await peer.write(
      Buffer.concat([framesOf('a', ['1']), bad, framesOf('a', ['2']), noBucket, framesOf('a', ['3'])]),
    );
    await until(() => bench.manager.messages.length === 3);
    expect(bench.manager.messages).toEqual(['1', '2', '3']);
    expect(bench.rejected).toEqual([
      { frame: bad, reason: 'lengths pass the end of the frame' },
      { frame: noBucket, reason: 'no bucket' },
    ]);
    expect(bench.counts).toEqual({
      ...newDoorCounts(),
      open: 1,
      accepted: 1,
      received: 5,
      bad: 2,
      badByReason: new Map([
        ['lengths pass the end of the frame', 1],
        ['no bucket', 1],
      ]),
    });
    expect(bench.logged('WARN')).toEqual([
      '/socket/client.1 bad frame (lengths pass the end of the frame): it starts with 03000000c80102; it is rejected, the connection goes on; more of them are only counted; fix the program that sends them (docs/protocol.md has the layout)',
    ]);
    expect(peer.isClosed).toBe(false);
  });

  test.each([[1], [MB + 1], [2 ** 31], [2 ** 32 - 1]])(
    'a length of %d closes that connection alone, and what came before is kept',
    async (length) => {
      const [peer, other] = [await bench.connect(), await bench.connect()];
      const head = Buffer.alloc(4);
      head.writeUInt32LE(length);
      await peer.write(Buffer.concat([framesOf('a', ['1', '2']), head, framesOf('a', ['never'])]));
      await until(() => peer.hasEnded);
      await other.write(framesOf('a', ['3']));
      await until(() => bench.manager.messages.length === 3);
      expect(bench.manager.messages).toEqual(['1', '2', '3']);
      expect(bench.counts).toEqual({
        ...newDoorCounts(),
        open: 1,
        accepted: 2,
        received: 3,
        lostFraming: 1,
      });
      expect(bench.logged('WARN')[0]).toMatch(
        /^\/socket\/client\.1 connection closed: a frame .*; 2 whole frames before it are kept, 0 bytes of a half frame are dropped; fix the program that sends it \(docs\/protocol\.md has the layout\), or raise MAXFRAME$/,
      );
      expect(bench.connections()).toBe(1);
    },
  );

  test('what ends in the middle of a frame is counted; its whole frames are kept', async () => {
    const three = framesOf('a', ['1', '2', '3']);
    const ends = framesIn(three).map((frame, i, all) =>
      all.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0),
    );
    for (let cut = 0; cut <= three.length; cut++) {
      bench.manager.runs.length = 0;
      bench.counts.cutFrames = 0;
      const peer = await bench.connect();
      await peer.write(three.subarray(0, cut));
      peer.socket.end();
      await until(() => peer.isClosed && bench.connections() === 0);
      const whole = ends.filter((end) => end <= cut).length;
      expect(bench.manager.messages).toEqual(numbers(1, whole));
      expect(bench.counts.cutFrames).toBe(cut === 0 || ends.includes(cut) ? 0 : 1);
    }
    expect(bench.budget.heldBytes).toBe(0);
  });
});

describe('Client: a half frame', () => {
  test('older than 30 s closes its connection; an idle connection stays for ever', async () => {
    const [half, idle] = [await bench.connect(), await bench.connect()];
    await idle.write(framesOf('a', ['idle']));
    await half.write(Buffer.concat([framesOf('a', ['1']), framesOf('a', ['half']).subarray(0, 7)]));
    await until(() => bench.manager.messages.length === 2);
    bench.clock.advance(29_000);
    await quiet();
    expect(bench.connections()).toBe(2);
    bench.clock.advance(1_000);
    await until(() => half.hasEnded);
    bench.clock.advance(3_600_000);
    await quiet();
    expect(bench.connections()).toBe(1);
    expect(bench.counts.lostFraming).toBe(1);
    expect(bench.logged('WARN')).toEqual([
      '/socket/client.1 connection closed: a frame stayed half for 30 s; 1 whole frame before it is kept, 7 bytes of a half frame are dropped; see why its program stopped in the middle of one',
    ]);
    await idle.write(framesOf('a', ['still there']));
    await until(() => bench.manager.messages.includes('still there'));
  });

  test('a byte now and then does not prolong it; another frame does, a bad one too', async () => {
    const loris = await bench.connect();
    const busy = await bench.connect();
    const bad = Buffer.from([2, 0, 0, 0, 9, 9]);
    const bytes = framesOf('a', ['a frame that is sent byte by byte, so slowly that it takes too long']);
    await busy.write(bad.subarray(0, 3));
    for (let second = 0; second < 30; second++) {
      await loris.write(bytes.subarray(second, second + 1));
      await busy.write(Buffer.concat([bad.subarray(3), bad.subarray(0, 3)]));
      await until(() => bench.rejected.length === second + 1 && bench.budget.heldBytes > 0);
      await quiet();
      bench.clock.advance(1_000);
    }
    await until(() => loris.hasEnded);
    await quiet();
    expect(bench.connections()).toBe(1);
    expect(busy.hasEnded).toBe(false);
    expect(bench.rejected).toHaveLength(30);
  });
});

describe('Client: reports', () => {
  const ask = (level: '' | 'settled'): Buffer =>
    prefixed(Buffer.concat([Buffer.from([0, 5]), Buffer.from(`kahe?${level}`)]));
  const told = (peer: Peer): unknown[] => {
    const reports: unknown[] = [];
    for (let at = 0, bytes = peer.bytes; at + 4 <= bytes.length; at += 4 + bytes.readUInt32LE(at))
      reports.push(JSON.parse(bytes.toString('utf8', at + 4, at + 4 + bytes.readUInt32LE(at))));
    return reports;
  };

  test('of frames that are safe, and of bad ones with their reason', async () => {
    const peer = await bench.connect();
    await peer.write(
      Buffer.concat([framesOf('a', ['1', '2']), Buffer.from([3, 0, 0, 0, 200, 1, 2]), ask('')]),
    );
    await until(() => told(peer).length === 1);
    const reason = 'lengths pass the end of the frame';
    expect(told(peer)).toEqual([
      {
        level: 'safe',
        frames: 3,
        outcomes: { safe: 2, rejected: 1, discarded: 0 },
        reasons: [{ outcome: 'rejected', reason, frames: 1 }],
      },
    ]);
    expect(bench.manager.fences.map(({ receipt: { level } }) => level)).toEqual(['safe']);
  });

  test('settled: what streams told is counted, the rest was delivered; unless some may not be known', async () => {
    const peer = await bench.connect();
    await peer.write(framesOf('a', ['1', '2', '3', '4', '5']));
    await until(() => bench.manager.runs.length === 1);
    const origin = bench.manager.origins[0];
    for (const fate of ['stored', 'slicedOut', 'discarded'] as const)
      bench.origins.ended(
        new Map([
          [origin!, 1],
          [NOBODY, 100],
        ]),
        fate,
        'the spool was full',
      );
    await peer.write(ask('settled'));
    await until(() => told(peer).length === 1);
    const outcomes = { delivered: 2, stored: 1, slicedOut: 1, rejected: 0, discarded: 1, unknown: 0 };
    const reasons = [{ outcome: 'discarded', reason: 'the spool was full', frames: 1 }];
    expect(told(peer)).toEqual([{ level: 'settled', frames: 5, outcomes, reasons }]);
    bench.origins.ended(new Map([[UNKNOWN, 7]]), 'stored');
    await peer.write(ask('settled'));
    await until(() => told(peer).length === 2);
    expect(told(peer)[1]).toEqual({
      level: 'settled',
      frames: 5,
      outcomes: { ...outcomes, delivered: 0, unknown: 2 },
      reasons,
    });
  });

  test('a question of one level is asked of each bucket that got frames since the last one of that level', async () => {
    const peer = await bench.connect();
    await peer.write(
      Buffer.concat([
        framesOf('a', ['1']),
        QUESTION,
        framesOf('b', ['2']),
        ask('settled'),
        framesOf('c', ['3']),
        ask(''),
        ask('settled'),
      ]),
    );
    await until(() => bench.manager.fences.length === 4);
    const asked = bench.manager.fences.map(({ receipt: { level }, buckets }) => [level, buckets].flat());
    expect(asked).toEqual([
      ['safe', 'a'],
      ['settled', 'a', 'b'],
      ['safe', 'b', 'c'],
      ['settled', 'c'],
    ]);
  });

  test('a receipt counts no frame that was discarded', async () => {
    const peer = await bench.connect();
    await peer.write(framesOf('a', ['1', '2', '3']));
    await until(() => bench.manager.runs.length === 1);
    bench.origins.ended(new Map([[bench.manager.origins[0]!, 1]]), 'discarded', 'r');
    await peer.write(QUESTION);
    await until(() => peer.answers.length === 1);
    expect(peer.answers).toEqual([2]);
  });

  test('a question for another level is a bad frame', async () => {
    const peer = await bench.connect();
    await peer.write(Buffer.concat([ask('x' as ''), QUESTION]));
    await until(() => peer.answers.length === 1);
    expect(bench.rejected.map(({ reason }) => reason)).toEqual(['no bucket']);
  });
});

describe('Client: receipts', () => {
  test('each question is answered with the frames before it', async () => {
    const peer = await bench.connect();
    await peer.write(
      Buffer.concat([
        QUESTION,
        framesOf('a', ['1', '2']),
        QUESTION,
        framesOf('b', ['3']),
        QUESTION,
        QUESTION,
      ]),
    );
    await until(() => peer.answers.length === 4);
    expect(peer.answers).toEqual([0, 2, 3, 3]);
  });

  test('frames that were rejected are safe once they are kept', async () => {
    bench.store.problem = 'full';
    const peer = await bench.connect();
    await peer.write(Buffer.concat([Buffer.from([3, 0, 0, 0, 200, 1, 2]), QUESTION]));
    await until(() => bench.manager.fences.length === 1);
    await quiet();
    expect(peer.answers).toEqual([]);
    bench.store.heal();
    await until(() => peer.answers.length === 1);
    expect(peer.answers).toEqual([0]);
  });

  test("frames to be rejected that can't be kept stop their connection alone, until there is room", async () => {
    bench.store.problem = 'full';
    const bad = Buffer.from([3, 0, 0, 0, 200, 1, 2]);
    const [held, other] = [await bench.connect(), await bench.connect()];
    await held.write(Buffer.concat([bad, framesOf('a', ['1']), QUESTION]));
    await until(() => bench.manager.fences.length === 1);
    await held.write(Buffer.concat([framesOf('a', ['2']), bad, QUESTION]));
    await other.write(Buffer.concat([framesOf('b', ['3']), QUESTION]));
    await until(() => other.answers.length === 1);
    await quiet();
    expect([other.answers, held.answers, bench.manager.fences.length]).toEqual([[1], [], 2]);
    bench.store.heal();
    await until(() => held.answers.length === 2);
    expect([held.answers, bench.rejected.length]).toEqual([[1, 2], 2]);
  });

  test('hundreds of questions in one write are answered in their order, each once, however they become safe', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    await peer.write(
      Buffer.concat(numbers(0, 500).map((text) => Buffer.concat([framesOf('a', [text]), QUESTION]))),
    );
    const seen = new Set<Receipt>();
    // Answered from the last to the first: nothing may go out before its elders.
    while (seen.size < 500) {
      await until(() => bench.manager.fences.length > seen.size);
      await quiet();
      const fresh = bench.manager.fences.filter(({ receipt }) => !seen.has(receipt)).reverse();
      for (const [i, { receipt }] of fresh.entries()) {
        seen.add(receipt);
        const before = peer.answers.length;
        receipt.done();
        if (i === 0 && fresh.length > 1) {
          await quiet();
          expect(peer.answers.length).toBe(before);
        }
      }
    }
    await until(() => peer.answers.length === 500);
    await quiet();
    expect(peer.answers).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
  });

  test('every bucket that got frames since the last question is asked, whenever that one is answered', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    await peer.write(
      Buffer.concat([
        framesOf('a', ['1']),
        framesOf('b', ['2']),
        QUESTION,
        framesOf('b', ['3']),
        framesOf('c', ['4']),
      ]),
    );
    await until(() => bench.manager.messages.length === 4);
    bench.manager.fences[0]!.receipt.done();
    await until(() => peer.answers.length === 1);
    await peer.write(Buffer.concat([QUESTION, framesOf('c', ['5']), QUESTION, QUESTION]));
    await until(() => bench.manager.fences.length === 4);
    expect(bench.manager.fences.map(({ buckets }) => buckets)).toEqual([['a', 'b'], ['b', 'c'], ['c'], []]);
    for (const { receipt } of bench.manager.fences.slice(1)) receipt.done();
    await until(() => peer.answers.length === 4);
    expect(peer.answers).toEqual([2, 4, 5, 5]);
  });

  test('a connection with more bucket names than can be told apart asks all', async () => {
    const peer = await bench.connect();
    await peer.write(Buffer.concat(numbers(0, 1_100).map((name) => framesOf(name, ['x']))));
    await until(() => bench.manager.messages.length === 1_100);
    await peer.write(QUESTION);
    await until(() => peer.answers.length === 1);
    expect(bench.manager.fences[0]!.buckets).toBe('all');
    await peer.write(Buffer.concat([framesOf('a', ['x']), QUESTION]));
    await until(() => peer.answers.length === 2);
    expect(bench.manager.fences[1]!.buckets).toEqual(['a']);
  });

  test('a client that has ended its side gets its answers, then the end', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    peer.socket.end(Buffer.concat([framesOf('a', ['1']), QUESTION, framesOf('a', ['2']), QUESTION]));
    await until(() => bench.manager.fences.length === 2);
    await quiet();
    expect([peer.hasEnded, peer.answers]).toEqual([false, []]);
    for (const { receipt } of bench.manager.fences) receipt.done();
    await until(() => peer.isClosed && bench.connections() === 0);
    expect(peer.answers).toEqual([1, 2]);
  });

  test('an answer that comes when the client is gone harms nobody', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    await peer.write(Buffer.concat([framesOf('a', ['1']), QUESTION]));
    await until(() => bench.manager.fences.length === 1);
    peer.socket.destroy();
    await quiet();
    bench.manager.fences[0]!.receipt.done();
    await until(() => bench.connections() === 0);
    expect(bench.logged('WARN')).toEqual([]);
  });

  test('who asks without end and reads no answer is not read either', async () => {
    const peer = await bench.connect();
    peer.socket.pause();
    const zeros = Buffer.alloc(64 * 1024);
    let accepted = 0;
    let isStuck = false;
    for (let i = 0; i < 200 && !isStuck; i++) {
      void peer.write(zeros).then(
        () => accepted++,
        () => undefined,
      );
      await quiet();
      isStuck = accepted < i;
    }
    expect(isStuck).toBe(true);
    await quiet();
    const before = bench.manager.fences.length;
    // Some sockets' buffers full of questions, and no more.
    expect(before).toBeLessThan(2_000_000);
    await quiet();
    expect(bench.manager.fences.length).toBe(before);
    peer.socket.resume();
    await until(() => bench.manager.fences.length > before);
  });

  test('thousands of reports that nobody reads: no more are made than the kernel holds', async () => {
    const peer = await bench.connect();
    await peer.write(framesOf('a', numbers(0, 62)));
    await until(() => bench.manager.messages.length === 62);
    for (const name of numbers(0, 62))
      bench.origins.ended(new Map([[bench.manager.origins[0]!, 1]]), 'rejected', name.padEnd(300, 'x'));
    peer.socket.pause();
    const reports = 2_000;
    void peer.write(Buffer.concat(Array.from({ length: reports }, () => encodeFrame('', 'kahe?', ''))));
    await until(() => bench.manager.fences.length === reports);
    await quiet();
    expect(bench.counts.receipts).toBeLessThan(200);
    peer.socket.removeAllListeners('data');
    let bytes = 0;
    peer.socket.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume();
    await until(() => bench.counts.receipts === reports && bytes > reports * 62 * 300);
    await quiet();
    expect([bytes % reports, bench.counts.awaited]).toEqual([0, 0]);
  });
});

describe('Listener: the pace of reading', () => {
  test('the pacer hears of the frames and bytes of each read, of questions, and of connections', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    const bytes = Buffer.concat([
      framesOf('a', ['1', '2']),
      QUESTION,
      framesOf('b', ['3']),
      encodeFrame('b', null, 'half').subarray(0, 5),
    ]);
    await peer.write(bytes);
    await until(() => bench.manager.fences.length === 1);
    expect(bench.newcomers).toBe(1);
    expect([bench.reads, bench.asked, bench.counts.awaited]).toEqual([
      [{ frames: 3, bytes: bytes.length }],
      1,
      1,
    ]);
    bench.manager.fences[0]!.receipt.done();
    await until(() => peer.answers.length === 1);
    expect([bench.asked, bench.counts.awaited]).toEqual([1, 0]);
  });

  test('who waits for a receipt no more, because its connection was closed, is not counted', async () => {
    bench.manager.isQuick = false;
    const peer = await bench.connect();
    await peer.write(Buffer.concat([framesOf('a', ['1']), QUESTION, QUESTION]));
    await until(() => bench.counts.awaited === 2);
    await peer.write(Buffer.from([1, 0, 0, 0]));
    await until(() => bench.connections() === 0);
    expect(bench.counts.awaited).toBe(0);
  });
});

describe('Listener: memory', () => {
  test('over the bound all clients wait, new ones too; when it falls they go on and nothing is missing', async () => {
    const peer = await bench.connect();
    const taken = 12 * MB + 1;
    bench.manager.onRun = () => {
      bench.manager.onRun = () => undefined;
      bench.budget.take(taken);
    };
    await peer.write(framesOf('a', ['1']));
    await until(() => bench.budget.isOver);
    const late = await bench.connect();
    await Promise.all([
      peer.write(framesOf('a', numbers(2, 500))),
      late.write(framesOf('b', numbers(1_000, 500))),
    ]);
    await quiet();
    expect(bench.manager.messages).toEqual(['1']);
    bench.budget.give(taken);
    await until(() => bench.manager.messages.length === 1_001);
    expect(
      bench.manager.runs.filter(({ bucket }) => bucket === 'a').flatMap(({ messages }) => messages),
    ).toEqual(numbers(1, 501));
    expect(
      bench.manager.runs.filter(({ bucket }) => bucket === 'b').flatMap(({ messages }) => messages),
    ).toEqual(numbers(1_000, 500));
    expect(bench.logged('WARN')).toHaveLength(1);
  });

  test('half frames that fill it alone are finished one after another, and nothing is stuck', async () => {
    const peers: Peer[] = [];
    const frame = encodeFrame('big', null, Buffer.alloc(900 * 1024, 'x'));
    for (let i = 0; i < 20 && !bench.budget.isOver; i++) {
      const peer = await bench.connect();
      peers.push(peer);
      // Fifteen sixteenths of it: its buffer is as big as it gets.
      const before = bench.budget.heldBytes;
      void peer.write(frame.subarray(0, 850 * 1024)).catch(() => undefined);
      await until(() => bench.budget.isOver || bench.budget.heldBytes >= before + 850 * 1024);
    }
    expect(bench.budget.isOver).toBe(true);
    const [first, ...others] = peers;
    for (const peer of others)
      void peer
        .write(Buffer.concat([frame.subarray(850 * 1024), framesOf('small', ['behind it'])]))
        .catch(() => undefined);
    await quiet();
    expect(bench.manager.messages).toEqual([]);
    // The oldest never goes on: it is closed when its time is over, and then it is the next one's turn.
    const sent = (name: string): number => bench.manager.runs.filter(({ bucket }) => bucket === name).length;
    for (let second = 0; second < 60 && sent('small') < others.length; second++) {
      bench.clock.advance(1_000);
      await quiet();
    }
    await until(() => sent('small') === others.length);
    expect(sent('big')).toBe(others.length);
    expect([first!.hasEnded, bench.counts.lostFraming, bench.budget.isOver]).toEqual([true, 1, false]);
  });

  test('when memory is full of other things no half frame goes on', async () => {
    const peer = await bench.connect();
    const frame = encodeFrame('big', null, Buffer.alloc(900 * 1024, 'x'));
    await peer.write(frame.subarray(0, 100));
    await until(() => bench.budget.heldBytes > 0);
    bench.budget.take(15 * MB);
    void peer.write(frame.subarray(100));
    for (let second = 0; second < 60; second++) {
      bench.clock.advance(1_000);
      await turn();
    }
    expect(bench.manager.messages).toEqual([]);
    bench.budget.give(15 * MB);
    await until(() => bench.manager.messages.length === 1);
  });

  test('a frame that is half when memory is full gets its 30 s anew when it can go on', async () => {
    const peer = await bench.connect();
    const frame = framesOf('a', ['half']);
    await peer.write(frame.subarray(0, 5));
    await until(() => bench.budget.heldBytes > 0);
    bench.budget.take(15 * MB);
    await quiet();
    bench.clock.advance(120_000);
    await peer.write(frame.subarray(5));
    bench.budget.give(15 * MB);
    await until(() => bench.manager.messages.length === 1);
    expect(bench.counts.lostFraming).toBe(0);
  });
});

describe('Listener: connections', () => {
  test('who comes when there are as many as may be is turned away; others come in once somebody has gone', async () => {
    const small = new Bench(await mkdtemp(join(folder, 'small-')), 3);
    await small.listen();
    const peers = await Promise.all([small.connect(), small.connect(), small.connect()]);
    const late = [createConnection(small.path), createConnection(small.path)];
    await Promise.all(
      late.map(
        (socket) =>
          new Promise((resolve) =>
            socket
              .on('error', () => undefined)
              .once('close', resolve)
              .resume(),
          ),
      ),
    );
    for (const [i, peer] of peers.entries()) await peer.write(framesOf('a', [String(i)]));
    await until(() => small.manager.messages.length === 3);
    expect(small.lines.filter((line) => line.includes('was turned away: 3 are open'))).toHaveLength(1);
    peers[0].socket.destroy();
    await until(() => small.connections() === 2);
    const next = await small.connect();
    await next.write(Buffer.concat([framesOf('a', ['next']), QUESTION]));
    await until(() => next.answers.length === 1);
    await small.close();
  });
});

describe('Listener: the end', () => {
  test('the file goes at once, and what clients have sent by then is read: also of those not yet accepted', async () => {
    const open = await bench.connect();
    const waiting = Array.from({ length: 40 }, () => createConnection(bench.path));
    for (const [i, socket] of waiting.entries()) {
      socket.on('error', () => undefined);
      socket.end(framesOf('late', numbers(i * 100, 100)));
    }
    void open.write(framesOf('open', numbers(0, 10_000)));
    bench.stop();
    expect(existsSync(bench.path)).toBe(false);
    await bench.stopped();
    const of = (name: string): string[] =>
      bench.manager.runs.filter(({ bucket }) => bucket === name).flatMap(({ messages }) => messages);
    expect(of('open')).toEqual(numbers(0, 10_000));
    expect(
      of('late')
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(numbers(0, 4_000).map(Number));
    expect(bench.connections()).toBe(0);
  });

  test('idle clients are not waited for', async () => {
    const peers = await Promise.all([bench.connect(), bench.connect()]);
    bench.stop();
    await bench.stopped();
    await until(() => peers.every(({ hasEnded }) => hasEnded));
    expect(bench.clock.timers).toBe(0);
    expect(bench.logged('WARN')).toEqual([]);
  });

  test('one that writes without end is read for its time, and then closed', async () => {
    const peer = await bench.connect();
    const bytes = framesOf('a', numbers(0, 1_000));
    let isOver = false;
    const pump = (): void => {
      if (!isOver) peer.socket.write(bytes, () => setImmediate(pump));
    };
    pump();
    await until(() => bench.manager.messages.length > 0);
    bench.stop();
    await quiet();
    expect(bench.end).toBe('quiescing');
    bench.clock.advance(5_000);
    await until(() => bench.end === 'released');
    isOver = true;
    expect(bench.logged('WARN')).toEqual([
      '/socket clients still wrote after 5000 ms: their connections are closed; frames without a receipt must be sent again; a longer STOP_TIMEOUT gives more time',
    ]);
  });

  test('a client that was told to wait for memory is read, when there is room in time', async () => {
    const peer = await bench.connect();
    bench.budget.take(15 * MB);
    await quiet();
    await peer.write(framesOf('a', ['sent before the end']));
    bench.stop();
    await quiet();
    expect(bench.end).toBe('quiescing');
    bench.budget.give(15 * MB);
    await bench.stopped();
    expect(bench.manager.messages).toEqual(['sent before the end']);
  });

  test('one that has just connected is given the time to write', async () => {
    const peer = await bench.connect();
    bench.stop();
    await quiet();
    bench.clock.advance(95);
    await quiet();
    expect(bench.end).toBe('quiescing');
    await peer.write(framesOf('a', ['connected before the end']));
    await bench.stopped();
    expect(bench.manager.messages).toEqual(['connected before the end']);
    expect(bench.logged('WARN')).toEqual([]);
  });
});

describe('Listener: a failed one', () => {
  test('its successor has its clients, and takes each new one once', async () => {
    const peer = await bench.connect();
    const now = bench.clock.now.bind(bench.clock);
    bench.clock.now = () => {
      bench.clock.now = now;
      throw new Error('a fault of our own');
    };
    bench.clock.advance(1_000);
    expect(bench.logged('ERROR')).toEqual([
      expect.stringContaining('/socket failed, starts again in 100 ms with what it held: Error: a fault'),
    ]);
    // What it is told before there is a successor reaches that one.
    bench.budget.take(15 * MB);
    await peer.write(framesOf('a', ['0']));
    for (let i = 0; i < 3; i++) bench.clock.advance(1_000);
    await quiet();
    expect(bench.manager.messages).toEqual([]);
    bench.budget.give(15 * MB);
    await until(() => bench.manager.messages.length === 1);
    expect(bench.connections()).toBe(1);
    const after = await bench.connect();
    await Promise.all([peer.write(framesOf('a', ['1'])), after.write(framesOf('b', ['2']))]);
    await until(() => bench.manager.messages.length === 3);
    await quiet();
    expect(bench.connections()).toBe(2);
    expect([...bench.manager.messages].sort()).toEqual(['0', '1', '2']);
  });

  test('a client that fails is closed alone, and the memory of its half frame comes back', async () => {
    const [peer, other] = [await bench.connect(), await bench.connect()];
    await peer.write(encodeFrame('a', null, 'half').subarray(0, 6));
    await until(() => bench.budget.heldBytes > 0);
    const now = bench.clock.now.bind(bench.clock);
    bench.clock.now = () => {
      bench.clock.now = now;
      throw new Error('a fault of our own');
    };
    await peer.write(Buffer.from([0]));
    await until(() => peer.hasEnded);
    expect(bench.budget.heldBytes).toBe(0);
    await other.write(framesOf('a', ['1']));
    await until(() => bench.manager.messages.length === 1);
    expect(bench.connections()).toBe(1);
  });
});
