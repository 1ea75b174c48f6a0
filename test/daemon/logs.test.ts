// What the daemon's log looks like for each reader, and that neither a flood nor a reader that stands still
// or is gone harms it.
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  LOG_LINE,
  daemonFolder,
  frame,
  launchDaemon,
  numberedFrames,
  range,
  startDaemon,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';

const BUCKETS = {
  streamsConfigs: { files: fileStream('data', { fsync: false }) },
  buckets: [{ id: 'good', streams: ['files'], batchTimeout: 50 }],
};
const ON_TERMINAL = ['python3', path.resolve(import.meta.dirname, '../../support/onTerminal.py')];
/** N = 1: no frame is so short, so the connection is closed. */
const NONSENSE = Buffer.from([1, 0, 0, 0]);
const EVIL_NAME = 'x\n{"level":"FATAL"}\u001b[2J\u009b31m\u2028\u202e';

interface JsonLine {
  readonly level: string;
  readonly time: string;
  readonly path?: string;
  readonly bucket?: string;
  readonly stream?: string;
  readonly folded?: number;
  readonly msg: string;
}

/** Ends it; what it wrote need not be kahego's lines. */
async function end(daemon: TestDaemon): Promise<void> {
  daemon.signal('SIGTERM');
  expect(await daemon.exited).toEqual({ code: 0, signal: null });
}

async function sendEvil(daemon: TestDaemon): Promise<void> {
  const client = await daemon.connect();
  await client.send(frame('good', 'm'), frame(EVIL_NAME, 'm'));
  expect(await client.receipt()).toBe(2);
  await daemon.line(/rejected: unknown bucket/);
}

describe('the format', () => {
  test("a pipe gets kahego's lines", async () => {
    const daemon = await startDaemon({ buckets: BUCKETS });
    await sendEvil(daemon);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.lines.length).toBeGreaterThan(4);
    expect(daemon.lines.filter((line) => !LOG_LINE.test(line))).toEqual([]);
  });

  test.each([
    ['JOURNAL_STREAM', '8:12345'],
    ['INVOCATION_ID', 'b0c1'],
  ])('with %s each line is a JSON object', async (name, value) => {
    const daemon = await startDaemon({ buckets: BUCKETS, env: { [name]: value } });
    await sendEvil(daemon);
    await end(daemon);
    const entries = daemon.lines.map((line) => JSON.parse(line) as JsonLine);
    expect(entries[0]).toEqual({
      level: 'INFO',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      address: expect.stringMatching(/kahe\.sock$/) as string,
      buckets: 1,
      msg: expect.stringMatching(/^kahe \d+ listens on /) as string,
    });
    expect(entries.map(({ level }) => level)).not.toContain('FATAL');
    expect(entries.filter(({ msg }) => msg.startsWith('rejected: unknown bucket'))).toEqual([
      expect.objectContaining({
        ...{ level: 'WARN', path: '/rejected', frames: 1 },
        reason: 'unknown bucket, and there is no defaultBucket',
        bucket: expect.stringMatching(/^x\\x0a/) as string,
        keptIn: expect.stringMatching(/\.bckstm$/) as string,
      }),
    ]);
    expect(entries).toContainEqual(
      expect.objectContaining({
        msg: expect.stringMatching(/^good\/files: received 1, delivered 1/) as string,
        ...{ bucket: 'good', stream: 'files', received: 1, delivered: 1, queued: 0, rejected: 0 },
      }),
    );
    expect(daemon.lines.join('')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u202e]/);
  });

  test('JSON names the bucket and the stream of a line', async () => {
    const daemon = await startDaemon({
      buckets: {
        ...BUCKETS,
        streamsConfigs: { files: fileStream('data'), broken: fileStream('/proc/kahe') },
        defaultBucket: { streams: ['broken'], batchTimeout: 1 },
      },
      env: { LOG_FORMAT: 'json', STOP_TIMEOUT: '1s' },
    });
    const client = await daemon.connect();
    await client.send(frame('good/stream.files', 'm'));
    await daemon.line(/delivery stopped/);
    await end(daemon);
    const line = daemon.lines
      .map((each) => JSON.parse(each) as JsonLine)
      .find(({ msg }) => msg.startsWith('delivery stopped'));
    expect(line).toMatchObject({
      level: 'ERROR',
      path: '/bucket.good\\x2fstream.files/stream.broken',
      bucket: 'good\\x2fstream.files',
      stream: 'broken',
      mode: 'error',
      reason: expect.stringContaining('/proc/kahe') as string,
      frames: expect.any(Number) as number,
      retryMs: 1000,
    });
  });

  test("a terminal gets pretty lines in color, and nothing of a client's moves its cursor", async () => {
    const daemon = await startDaemon({
      buckets: BUCKETS,
      env: { TERM: 'xterm', INVOCATION_ID: 'of a desktop session' },
      under: ON_TERMINAL,
    });
    await sendEvil(daemon);
    await end(daemon);
    const plain = daemon.lines.map((line) => line.replaceAll(/\u001b\[\d+m/g, ''));
    expect(
      plain.filter(
        (line) => !/^\[\d\d:\d\d:\d\d\.\d{3}\] (INFO|WARN): [^\u0000-\u001f\u007f-\u009f]+\r$/.test(line),
      ),
    ).toEqual([]);
    expect(daemon.lines[0]).toMatch(/\u001b\[3\dmINFO\u001b\[39m: .*kahe \d+ listens on /);
    expect(plain.filter((line) => line.includes('rejected: unknown bucket'))).toEqual([
      expect.stringMatching(/^\[.*\] WARN: \/rejected rejected: /),
    ]);
  });

  test('a terminal without color gets none', async () => {
    const daemon = await startDaemon({
      buckets: BUCKETS,
      env: { TERM: 'xterm', NO_COLOR: '1' },
      under: ON_TERMINAL,
    });
    await end(daemon);
    expect(daemon.lines[0]).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: kahe /);
    expect(daemon.lines.join('')).not.toContain('\u001b');
  });

  test('LOG_FORMAT decides, also from the file', async () => {
    const text = await startDaemon({
      buckets: BUCKETS,
      env: { TERM: 'xterm', LOG_FORMAT: 'text' },
      under: ON_TERMINAL,
    });
    await end(text);
    expect(text.lines.filter((line) => !LOG_LINE.test(line.trimEnd()))).toEqual([]);
    const pretty = await startDaemon({
      buckets: BUCKETS,
      env: { JOURNAL_STREAM: '8:1' },
      envFile: 'LOG_FORMAT=pretty\n',
    });
    await end(pretty);
    expect(pretty.lines[0]).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: kahe /);
  });

  test('one that there is not: nothing starts, and the message says which there are', async () => {
    const daemon = await launchDaemon({ buckets: BUCKETS, env: { LOG_FORMAT: 'xml' } });
    expect(await daemon.exited).toEqual({ code: 1, signal: null });
    expect(daemon.lines.join('\n')).toMatch(/LOG_FORMAT: "xml".*auto.*pretty.*json.*text/s);
  });
});

describe('a flood', () => {
  test('10,000 connections that send nonsense make few lines, whose counts add up', async () => {
    const daemon = await startDaemon({ buckets: BUCKETS, env: { LOG_FORMAT: 'json' } });
    const other = await daemon.connect();
    for (const round of range(0, 100)) {
      await other.send(numberedFrames('good', 'other', { from: round, count: 1 }));
      await Promise.all(
        range(0, 100).map(async () => {
          const client = await daemon.connect();
          await client.send(NONSENSE);
          await client.closed;
        }),
      );
    }
    expect(await other.receipt()).toBe(100);
    await end(daemon);
    const closed = daemon.lines
      .map((line) => JSON.parse(line) as JsonLine)
      .filter(({ msg }) => msg.includes('connection closed'));
    expect(closed.reduce((sum, { folded }) => sum + (folded ?? 1), 0)).toBe(10_000);
    // Eleven for each ten seconds that it took.
    expect(closed.length).toBeLessThan(200);
    expect(
      closed
        .filter(({ folded }) => folded !== undefined)
        .every(
          ({ path: where, msg }) =>
            where === '/socket/client.*' &&
            /^… and \d+ more like this in the last \d+ s: connection closed: /.test(msg),
        ),
    ).toBe(true);
  });

  test('the account at the end has a line for each bucket, however many they are', async () => {
    const daemon = await startDaemon({
      buckets: { ...BUCKETS, defaultBucket: { streams: ['files'], batchTimeout: 20 } },
    });
    const client = await daemon.connect();
    await client.send(...range(0, 300).map((index) => frame(`b${index}`, 'm')));
    expect(await client.receipt()).toBe(300);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.accounts.size).toBe(301);
  });

  test('what is kept back is said even when a second signal ends it at once', async () => {
    const daemon = await startDaemon({
      buckets: { ...BUCKETS, streamsConfigs: { files: fileStream('/proc/kahe') } },
      env: { STOP_TIMEOUT: '1m' },
    });
    const stuck = await daemon.connect();
    await stuck.send(frame('good', 'stays'));
    await daemon.line(/delivery stopped/);
    for (let i = 0; i < 15; i++) {
      const client = await daemon.connect();
      await client.send(NONSENSE);
      await client.closed;
    }
    daemon.signal('SIGTERM');
    await daemon.line(/SIGTERM: no new clients/);
    daemon.signal('SIGTERM');
    expect(await daemon.exited).toEqual({ code: 1, signal: null });
    expect(daemon.linesLike(/\/client\.\d+ connection closed/)).toHaveLength(10);
    expect(
      daemon.linesLike(/\/client\.\* … and 5 more like this in the last \d+ s: connection closed/),
    ).toHaveLength(1);
  });
});

/** A named pipe that is the daemon's stderr. */
class Reader {
  readonly #fd: number;
  #isOpen = true;
  text = '';

  constructor(readonly file: string) {
    spawnSync('mkfifo', [file]);
    this.#fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    onTestFinished(() => this.close());
  }

  get under(): string[] {
    return ['sh', '-c', 'exec "$@" 2>"$0"', this.file];
  }

  /** All that is there now. */
  read(): string {
    const piece = Buffer.alloc(1024 * 1024);
    for (;;) {
      try {
        const bytes = readSync(this.#fd, piece);
        if (bytes === 0) return this.text;
        this.text += piece.toString('utf8', 0, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return this.text;
      }
    }
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
  }
}

/** Each is one line at DEBUG, which is never folded. */
async function cutFrames(daemon: TestDaemon, count: number): Promise<void> {
  for (let done = 0; done < count; done += 100) {
    await Promise.all(
      range(0, 100).map(async () => {
        const client = await daemon.connect();
        await client.send(Buffer.from([9, 0, 0, 0, 1]));
        await client.close();
      }),
    );
  }
}

describe('who reads the log', () => {
  test('stands still: the daemon goes on, and what it said comes later, whole and in order', async () => {
    const folder = await daemonFolder();
    const reader = new Reader(path.join(folder, 'log'));
    const daemon = await startDaemon({
      buckets: BUCKETS,
      folder,
      env: { LOG_LEVEL: 'DEBUG' },
      under: reader.under,
    });
    await cutFrames(daemon, 3000);
    const client = await daemon.connect();
    await client.send(numberedFrames('good', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    await daemon.until(
      'all lines',
      () => (reader.read().match(/ended in the middle of a frame/g) ?? []).length >= 3000,
    );
    daemon.signal('SIGTERM');
    expect(await daemon.exited).toEqual({ code: 0, signal: null });
    const lines = reader.read().trimEnd().split('\n');
    expect(lines.filter((line) => !LOG_LINE.test(line))).toEqual([]);
    const clients = lines
      .map((line) => /client\.(\d+) ended in the middle/.exec(line)?.[1])
      .filter((id) => id !== undefined);
    expect(new Set(clients).size).toBe(3000);
    expect(lines.at(-1)).toMatch(/good\/files: received 10, delivered 10/);
  });

  test('stands still for too long: lines are lost, and the log says how many', async () => {
    const folder = await daemonFolder();
    const reader = new Reader(path.join(folder, 'log'));
    const daemon = await startDaemon({
      buckets: BUCKETS,
      folder,
      env: { LOG_LEVEL: 'DEBUG' },
      under: reader.under,
    });
    await cutFrames(daemon, 15_000);
    await daemon.until('the lines that waited', () => /this log has lost \d+ lines?:/.test(reader.read()));
    daemon.signal('SIGTERM');
    await daemon.exited;
    const lines = reader.read().trimEnd().split('\n');
    expect(lines.filter((line) => !LOG_LINE.test(line))).toEqual([]);
    const lost = Number(/WARN .*this log has lost (\d+) lines?:/.exec(reader.text)![1]);
    expect(lost).toBeGreaterThan(1000);
    expect(lines.filter((line) => line.includes('ended in the middle of a frame')).length + lost).toBe(
      15_000,
    );
  });

  test('is gone: the daemon goes on, and ends as it should', async () => {
    const folder = await daemonFolder();
    const reader = new Reader(path.join(folder, 'log'));
    // Node itself may write there, too.
    const writes = 'setInterval(() => process.stderr.write("word"), 10).unref()';
    const daemon = await startDaemon({
      buckets: BUCKETS,
      folder,
      env: {
        LOG_LEVEL: 'DEBUG',
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(writes)}`,
      },
      under: reader.under,
    });
    reader.close();
    await cutFrames(daemon, 200);
    const client = await daemon.connect();
    await client.send(numberedFrames('good', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    await end(daemon);
    expect(await daemon.files('data')).toHaveLength(10);
  });
});
