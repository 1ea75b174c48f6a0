import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PhpFpm } from '../support/phpFpm.js';

const SEND = join(import.meta.dirname, '../support/fpm/send.php');
const WORKERS = 4;

interface Frame {
  readonly bucket: string;
  readonly key: string;
  readonly message: string;
}

interface SendResult {
  readonly pid: number;
  readonly sent: number;
  readonly inFallback: number;
  readonly receipt: number | null;
  readonly report: object | null;
  readonly error: string | null;
}

/** A daemon that takes frames, answers receipts and reports, and remembers per connection what came. */
class FakeKahe {
  readonly connections: { readonly frames: Frame[]; rest: Buffer; isEnded: boolean }[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(readonly path: string) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
    return this;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get frames(): Frame[] {
    return this.connections.flatMap(({ frames }) => frames);
  }

  #serve(socket: Socket): void {
    const connection = { frames: [] as Frame[], rest: Buffer.alloc(0), isEnded: false };
    this.connections.push(connection);
    this.#sockets.add(socket);
    socket.on('close', () => {
      connection.isEnded = true;
      this.#sockets.delete(socket);
    });
    socket.on('data', (chunk) => {
      let rest = Buffer.concat([connection.rest, chunk]);
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32LE(0)) {
        const body = rest.subarray(4, 4 + rest.readUInt32LE(0));
        rest = rest.subarray(4 + body.length);
        if (body.length === 0) {
          const answer = Buffer.alloc(8);
          answer.writeBigUInt64LE(BigInt(connection.frames.length));
          socket.write(answer);
        } else if (body[0] === 0) {
          socket.write(reportOf(parseBody(body).message, connection.frames.length));
        } else {
          connection.frames.push(parseBody(body));
        }
      }
      connection.rest = rest;
    });
  }
}

function parseBody(body: Buffer): Frame {
  const bucketEnd = 1 + body[0]!;
  const keyEnd = bucketEnd + 1 + body[bucketEnd]!;
  return {
    bucket: body.toString('utf8', 1, bucketEnd),
    key: body.toString('utf8', bucketEnd + 1, keyEnd),
    message: body.toString('utf8', keyEnd),
  };
}

/** All is well: what was asked, and the frames of the connection. */
function reportOf(asked: string, frames: number): Buffer {
  const isSettled = asked === 'settled';
  const outcomes = { [isSettled ? 'delivered' : 'safe']: frames, rejected: 0, discarded: 0 };
  const json = JSON.stringify({ level: isSettled ? 'settled' : 'safe', frames, outcomes, reasons: [] });
  const answer = Buffer.alloc(4 + json.length);
  answer.writeUInt32LE(json.length, 0);
  answer.write(json, 4);
  return answer;
}

function payloads(worker: string, count: number): string[] {
  return Array.from({ length: count }, (_, seq) => JSON.stringify({ worker, seq }));
}

describe('PhpFpm', () => {
  let fpm: PhpFpm;
  let folder: string;
  let kahe: FakeKahe;

  const send = async (params: Record<string, string | number>): Promise<SendResult> => {
    const response = await fpm.request(SEND, { socket: kahe.path, ...params });
    expect(response).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
    return JSON.parse(response.body) as SendResult;
  };
  const allEnded = async (): Promise<void> => {
    await expect.poll(() => kahe.connections.every(({ isEnded }) => isEnded)).toBe(true);
  };

  beforeAll(async () => {
    fpm = await PhpFpm.start({ workers: WORKERS });
  });
  afterAll(async () => {
    await fpm.close();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kahe-fpm-test-'));
    kahe = await new FakeKahe(join(folder, 'kahe.sock')).listen();
  });
  afterEach(async () => {
    await kahe.close();
    await rm(folder, { recursive: true });
  });

  it.each(['one', 'many', 'plain'])(
    'sends every frame in order over one connection, mode %s',
    async (mode) => {
      const result = await send({ mode, count: 50, prefix: 'w', bucket: 'requests', key: '0' });
      expect(result).toMatchObject({ sent: 50, inFallback: 0, receipt: null, error: null });
      await allEnded();
      expect(kahe.connections).toHaveLength(1);
      expect(kahe.frames).toEqual(
        payloads('w', 50).map((message) => ({ bucket: 'requests', key: '0', message })),
      );
    },
  );

  it('asks for a receipt', async () => {
    expect(await send({ count: 7, receipt: 1 })).toMatchObject({ sent: 7, receipt: 7, error: null });
  });

  it.each(['safe', 'settled'])('asks for a report of what is %s', async (report) => {
    const outcomes = { [report === 'safe' ? 'safe' : 'delivered']: 7, rejected: 0, discarded: 0 };
    expect(await send({ count: 7, report })).toMatchObject({
      sent: 7,
      report: { level: report, frames: 7, outcomes, reasons: [] },
      error: null,
    });
  });

  it('runs many requests at once, on all its workers', async () => {
    const results = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => send({ count: 20, prefix: `r${i}`, mode: 'many' })),
    );
    expect(new Set(results.map(({ pid }) => pid)).size).toBeGreaterThan(1);
    await allEnded();
    const received = kahe.connections.map(({ frames }) => frames.map(({ message }) => message));
    const expected = Array.from({ length: 60 }, (_, i) => payloads(`r${i}`, 20));
    expect(received.sort()).toEqual(expected.sort());
  });

  it('flushes a buffer at the end of the request', async () => {
    expect(await send({ count: 3, bufferBytes: 65_536, prefix: 'w' })).toMatchObject({ sent: 3 });
    const page = join(folder, 'fatal.php');
    await writeFile(
      page,
      `<?php require '${join(import.meta.dirname, '../clients/php/autoload.php')}';
      $client = new Kahe\\Client($_GET['socket'], bufferBytes: 1000);
      $client->send('b', 'before the error');
      undefined_function();`,
    );
    expect((await fpm.request(page, { socket: kahe.path })).status).toBe(500);
    await allEnded();
    expect(kahe.frames.at(-1)).toEqual({ bucket: 'b', key: '', message: 'before the error' });
  });

  it("keeps a persistent connection between requests, and replaces it after the daemon's restart", async () => {
    const pids = new Set<number>();
    for (let i = 0; i < 12; i++) {
      pids.add((await send({ count: 5, persistent: 1, prefix: 'w' })).pid);
    }
    await expect.poll(() => kahe.frames.length).toBe(60);
    expect(kahe.connections).toHaveLength(pids.size);

    await kahe.close();
    kahe = await new FakeKahe(kahe.path).listen();
    const again = await Promise.all(
      Array.from({ length: 12 }, async () => send({ count: 5, persistent: 1, receipt: 1 })),
    );
    expect(again.every(({ error, sent }) => error === null && sent === 5)).toBe(true);
    expect(kahe.frames).toHaveLength(60);
    expect(kahe.connections.length).toBeLessThanOrEqual(WORKERS);
  });

  it('does not go on with a persistent connection whose request died in mid-frame', async () => {
    const page = join(folder, 'die.php');
    await writeFile(
      page,
      `<?php $stream = stream_socket_client('unix://' . $_GET['socket'], flags: STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT);
      stream_set_blocking($stream, false); // As the client does while it writes.
      fwrite($stream, "\\x10\\0\\0\\0half");
      exit;`,
    );
    const single = await PhpFpm.start({ workers: 1 });
    try {
      await single.request(page, { socket: kahe.path });
      await single.request(SEND, { socket: kahe.path, persistent: 1, count: 2, prefix: 'w' });
    } finally {
      await single.close();
    }
    await allEnded();
    expect(kahe.connections.map(({ frames, rest }) => [frames.length, rest.length])).toEqual([
      [0, 8],
      [2, 0],
    ]);
  });

  it('goes to one fallback file per worker while the daemon is away', async () => {
    const socket = join(folder, 'nobody.sock');
    const fallbackDir = join(folder, 'fallback');
    const results = await Promise.all(
      Array.from({ length: 20 }, async () => send({ socket, fallbackDir, count: 10, prefix: 'w' })),
    );
    expect(results.every(({ inFallback, error }) => inFallback === 10 && error === null)).toBe(true);
    const files = await readdir(fallbackDir);
    expect(files).toHaveLength(new Set(results.map(({ pid }) => pid)).size);
    const bytes = await Promise.all(files.map(async (name) => readFile(join(fallbackDir, name))));
    const frameBytes = 4 + 2 + 'requests'.length + '{"worker":"w","seq":0}'.length;
    expect(Buffer.concat(bytes)).toHaveLength(200 * frameBytes);
  });

  it('tells status, headers and body of any page, and passes nothing of our environment on', async () => {
    const page = join(folder, 'page.php');
    await writeFile(
      page,
      `<?php http_response_code(418); header('X-Answer: a: b'); echo $_GET['q'], "\\r\\n\\r\\n", $_SERVER['KAHE_MARK'] ?? getenv('KAHE_MARK') ?: 'none';`,
    );
    process.env['KAHE_MARK'] = 'passed on';
    const response = await fpm.request(page, { q: 'ü&=' });
    expect(response).toMatchObject({ status: 418, headers: { 'x-answer': 'a: b' } });
    expect(response.body).toBe('ü&=\r\n\r\nnone');
    expect((await fpm.request(join(folder, 'missing.php'))).status).toBe(404);
  });

  it('close ends a request that hangs, and removes the folder', async () => {
    const page = join(folder, 'hang.php');
    await writeFile(page, `<?php touch('${folder}/hangs'); sleep(60);`);
    const other = await PhpFpm.start({ workers: 1 });
    const request = other.request(page).catch((error: unknown) => error);
    await expect.poll(async () => readdir(folder)).toContain('hangs');
    await other.close();
    expect(await request).toBeInstanceOf(Error);
    await expect(readdir(other.folder)).rejects.toThrow('ENOENT');
  });

  it('says what to install when a program is missing', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = folder;
    try {
      await expect(PhpFpm.start()).rejects.toThrow('apt-get install php-fpm libfcgi-bin');
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('throws its log when it does not start', async () => {
    await expect(PhpFpm.start({ workers: -1 })).rejects.toThrow(/did not start:\n.*max_children/s);
  });
});
