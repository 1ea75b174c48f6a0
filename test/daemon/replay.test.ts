// `kahe replay` with the whole daemon: what arrives, in which order, and what is repeated when it is
// interrupted.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { appendFile, mkdir, readFile, readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { encodeCheckpoint } from '../../src/frames/checkpoint.js';
import { type CliExit, type CliProcess, runCli, startCli } from '../../support/cliProcess.js';
import {
  type TestDaemon,
  daemonFolder,
  filesOf,
  frame,
  numberedFrames,
  numbersBySender,
  parseFrames,
  range,
  spawnDaemon,
  startDaemon,
} from '../../support/daemon.js';
import { builtDaemon } from '../../support/daemonBuild.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { createTopic } from '../../support/kafkaTopics.js';

const { bootstrap } = inject('kafka');
const KAHEGO_FILE = join(import.meta.dirname, '../fixtures/kahego-500.bckstm');
const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'other', streams: ['files'] }],
  defaultBucket: { streams: ['files'], batchTimeout: 20 },
};

beforeAll(() => builtDaemon());

interface Place {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
}

function replay({ folder, env }: Place, ...args: string[]): Promise<CliExit> {
  return runCli(['replay', ...args], { cwd: folder, env });
}

async function withDaemon(
  buckets: object = TO_FILES,
  env: Readonly<Record<string, string>> = {},
): Promise<Place & { readonly daemon: TestDaemon }> {
  const daemon = await startDaemon({ buckets, env });
  return { daemon, folder: daemon.folder, env: { ...env, SOCKET: daemon.socketPath } };
}

async function bytesBelow(folder: string): Promise<Buffer> {
  return Buffer.concat(await Promise.all((await filesOf(folder)).map((file) => readFile(file))));
}

/** Polls the note until so many frames are safe. */
async function untilNoted(file: string, frames: number, cli: CliProcess): Promise<void> {
  for (const deadline = Date.now() + 25_000; ;) {
    const note = await readFile(`${file}.replay.json`, 'utf8').catch(() => '{}');
    if (((JSON.parse(note) as { frames?: number }).frames ?? 0) >= frames) return;
    if (Date.now() > deadline)
      throw new Error(`${frames} frames are not noted: ${note}\n${cli.out}${cli.err}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function sentNumbers(folder: string): Promise<number[]> {
  return (
    numbersBySender(parseFrames(await bytesBelow(join(folder, 'data'))).map(({ message }) => message)).get(
      'c',
    ) ?? []
  );
}

describe('through the daemon', () => {
  test("a file of kahego's arrives byte for byte; a second run sends nothing, --again all of it", async () => {
    const place = await withDaemon();
    const file = join(place.folder, 'k.bckstm');
    const bytes = readFileSync(KAHEGO_FILE);
    await writeFile(file, bytes);
    expect(await replay(place, '--dry-run', file)).toMatchObject({
      code: 0,
      out: expect.stringContaining(
        `${file}: would send 500 frames to socket ${place.env['SOCKET']!} (kh_files 500)`,
      ) as string,
      err: '',
    });
    expect(await readdir(place.folder)).not.toContain('k.bckstm.replay.json');
    expect(await filesOf(join(place.folder, 'data'))).toEqual([]);
    expect(await replay(place, file)).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /k\.bckstm: 500 frames sent and confirmed\n500 frames: 500 delivered, in \d+s\n$/,
      ) as string,
      err: '',
    });
    expect((await bytesBelow(join(place.folder, 'data'))).equals(bytes)).toBe(true);
    expect(await replay(place, file)).toMatchObject({
      code: 0,
      out: expect.stringContaining('all of it (500 frames) was sent before') as string,
    });
    expect((await replay(place, '--again', file)).code).toBe(0);
    expect(await place.daemon.stop()).toMatchObject({ code: 0 });
    expect(place.daemon.received).toEqual({ frames: 1000, bad: 0 });
    expect((await bytesBelow(join(place.folder, 'data'))).equals(Buffer.concat([bytes, bytes]))).toBe(true);
  });

  test('--bucket, bad frames, a torn end: what is whole and chosen is sent, the rest told, exit code 1', async () => {
    const place = await withDaemon();
    const file = join(place.folder, 'mixed.bckstm');
    const bad = Buffer.from([3, 0, 0, 0, 200, 1, 2]);
    await writeFile(
      file,
      Buffer.concat([
        ...range(0, 9).map((n) => frame(`b${n % 3}`, `c:${n}:`)),
        bad,
        frame('b0', 'c:9:'),
        frame('b1', 'torn').subarray(0, 7),
      ]),
    );
    const ran = await replay(place, '--bucket', 'b0', '--bucket', 'b2', '--remove', file);
    expect(ran.code).toBe(1);
    expect(ran.out).toContain('7 frames sent');
    expect(ran.err).toContain('1 frame with lengths that make no sense is left out');
    expect(ran.err).toMatch(
      /torn at offset \d+: expected a frame of 12 bytes, the file has 7 more; its end \(7 bytes\) is left out/,
    );
    expect(ran.err).toContain('not removed');
    expect(
      numbersBySender((await place.daemon.files('data/b0')).map(({ message }) => message)).get('c'),
    ).toEqual([0, 3, 6, 9]);
    expect(
      numbersBySender((await place.daemon.files('data/b2')).map(({ message }) => message)).get('c'),
    ).toEqual([2, 5, 8]);
    expect(await filesOf(join(place.folder, 'data/b1'))).toEqual([]);
    expect(await place.daemon.stop()).toMatchObject({ code: 0 });
    expect(place.daemon.received).toEqual({ frames: 7, bad: 0 });
  });

  test('a segment of the spool: checkpoints and damaged pieces are left out', async () => {
    const place = await withDaemon();
    const piece = (from: number): Buffer => {
      const frames = numberedFrames('orders', 'c', { from, count: 10 });
      return Buffer.concat([frames, encodeCheckpoint(frames, 10, 1_700_000_000_000)]);
    };
    const damaged = piece(10);
    damaged[25]! ^= 1;
    const file = join(place.folder, 's.bckstm');
    await writeFile(file, Buffer.concat([piece(0), damaged, piece(20)]));
    const ran = await replay(place, file);
    expect(ran).toMatchObject({ code: 1, out: expect.stringContaining('20 frames sent') as string });
    expect(ran.err).toContain(
      `damaged from offset ${piece(0).length} to ${piece(0).length + damaged.length}`,
    );
    expect(await sentNumbers(place.folder)).toEqual([...range(0, 10), ...range(20, 30)]);
  });

  test('a folder: its files oldest first; --remove takes those that are safe, with their notes', async () => {
    const place = await withDaemon();
    const names = ['z', 'a', 'm'];
    await mkdir(join(place.folder, 'old/sub'), { recursive: true });
    for (const [n, name] of names.entries()) {
      const file = join(place.folder, 'old', n === 1 ? `sub/${name}.bckstm` : `${name}.bckstm`);
      await writeFile(file, numberedFrames('orders', 'c', { from: n * 100, count: 100 }));
      await utimes(file, 1_700_000_000 + n, 1_700_000_000 + n);
    }
    await writeFile(join(place.folder, 'old/notes.txt'), "a stranger's");
    expect(await replay(place, '--remove', 'old')).toMatchObject({ code: 0, err: '' });
    expect(await sentNumbers(place.folder)).toEqual(range(0, 300));
    expect((await readdir(join(place.folder, 'old'))).sort()).toEqual(['notes.txt', 'sub']);
    expect(await replay(place, 'old')).toMatchObject({
      code: 0,
      out: expect.stringContaining('nothing to send') as string,
    });
  });

  test('a file that has grown is continued; another one under its name starts anew', async () => {
    const place = await withDaemon();
    const file = join(place.folder, 'g.bckstm');
    await writeFile(file, numberedFrames('orders', 'c', { count: 50 }));
    expect((await replay(place, file)).code).toBe(0);
    await appendFile(file, numberedFrames('orders', 'c', { from: 50, count: 50 }));
    expect((await replay(place, file)).out).toContain('50 frames sent and confirmed; 50 before');
    expect(await sentNumbers(place.folder)).toEqual(range(0, 100));
    await writeFile(join(place.folder, 'other'), numberedFrames('orders', 'c', { from: 1000, count: 150 }));
    await rename(join(place.folder, 'other'), file);
    expect(await replay(place, file)).toMatchObject({
      code: 0,
      err: expect.stringContaining(
        'another file had this name when it was last replayed, so it starts anew',
      ) as string,
    });
    expect(await sentNumbers(place.folder)).toEqual([...range(0, 100), ...range(1000, 1150)]);
  });
});

describe('interrupted', () => {
  const COUNT = 40_000;
  /** What may be on its way. */
  const MOST_REPEATED = 10_000;

  async function prepared(): Promise<Place & { readonly daemon: TestDaemon; readonly file: string }> {
    const place = await withDaemon();
    const file = join(place.folder, 'big.bckstm');
    await writeFile(file, numberedFrames('orders', 'c', { count: COUNT, bytes: 50 }));
    return { ...place, file };
  }

  test('SIGINT: it stops, and the next run goes on where it was; nothing twice, nothing missing', async () => {
    const { daemon, file, ...place } = await prepared();
    const first = await startCli(['replay', '--rate', '5k', file], { cwd: place.folder, env: place.env });
    await untilNoted(file, 2000, first);
    first.signal('SIGINT');
    const { code, err, out } = await first.exited;
    expect(code).toBe(1);
    expect(err).toContain('SIGINT: it stops once what is on its way is safe');
    expect(out).toContain('stopped: the same command goes on');
    const before = (await sentNumbers(place.folder)).length;
    expect(before).toBeGreaterThanOrEqual(2000);
    expect(before).toBeLessThan(COUNT);
    const second = await replay(place, file);
    expect(second).toMatchObject({ code: 0, err: '' });
    expect(second.out).toContain(`; ${before.toLocaleString('en')} before`);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await sentNumbers(place.folder)).toEqual(range(0, COUNT));
  });

  test('kill -9: nothing missing, and repeated is at most what was on its way', async () => {
    const { daemon, file, ...place } = await prepared();
    for (const round of [1, 2]) {
      const killed = await startCli(['replay', '--rate', '8k', file], { cwd: place.folder, env: place.env });
      await untilNoted(file, round * 4000, killed);
      killed.signal('SIGKILL');
      await killed.exited;
    }
    expect(await replay(place, file)).toMatchObject({ code: 0 });
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const numbers = await sentNumbers(place.folder);
    expect([...new Set(numbers)].sort((a, b) => a - b)).toEqual(range(0, COUNT));
    expect(numbers.length).toBeLessThanOrEqual(COUNT + 2 * MOST_REPEATED);
    // Runs of the file's order: each interruption goes back once.
    expect(numbers.filter((number, i) => i > 0 && number !== numbers[i - 1]! + 1).length).toBeLessThanOrEqual(
      2,
    );
  });

  test('the daemon is killed and comes back: said once, and it goes on from what is safe', async () => {
    const { daemon, file, ...place } = await prepared();
    const cli = await startCli(['replay', '--rate', '8k', file], { cwd: place.folder, env: place.env });
    await untilNoted(file, 4000, cli);
    await daemon.kill9();
    await daemon
      .until('a word about it', () => cli.err.includes('tried again'), 20_000)
      .catch(() => undefined);
    const again = await spawnDaemon(place.folder, place.env);
    expect(await cli.exited).toMatchObject({ code: 0 });
    expect(cli.err.match(/tried again for up to 60 s/g)).toHaveLength(1);
    expect(cli.err.match(/it is back/g)).toHaveLength(1);
    expect(await again.stop()).toMatchObject({ code: 0 });
    const numbers = await sentNumbers(place.folder);
    expect([...new Set(numbers)].sort((a, b) => a - b)).toEqual(range(0, COUNT));
    expect(numbers.length).toBeLessThanOrEqual(COUNT + MOST_REPEATED);
  });

  test('no daemon: it says what to do, at once; one that never comes back: after the timeout', async () => {
    const { daemon, file, ...place } = await prepared();
    const cli = await startCli(['replay', '--rate', '8k', '--timeout', '1', file], {
      cwd: place.folder,
      env: place.env,
    });
    await untilNoted(file, 1000, cli);
    await daemon.kill9();
    expect(await cli.exited).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        /tried for 1 s \(--timeout\)\. [\d,]+ frames? of it (is|are) safe and noted: the same command goes on behind them/,
      ) as string,
    });
    expect(await replay(place, file)).toMatchObject({
      code: 1,
      err: expect.stringContaining('is the daemon running? (start it with: kahe)') as string,
    });
  });
});

describe('to Kafka', () => {
  test("a file of kahego's, through the daemon and straight: keys, messages and order are the file's", async () => {
    await createTopic([bootstrap], 'kh_files', { partitions: 1 });
    const place = await withDaemon({
      streamsConfigs: { kafka: kafkaStream(bootstrap) },
      buckets: [{ id: 'kh_files', streams: ['kafka'], batchTimeout: 20 }],
    });
    const file = join(place.folder, 'k.bckstm');
    await writeFile(file, readFileSync(KAHEGO_FILE));
    expect((await replay(place, file)).code).toBe(0);
    expect(await place.daemon.stop()).toMatchObject({ code: 0 });
    const ran = await replay(place, '--stream', 'kafka', file);
    expect(ran).toMatchObject({
      code: 0,
      err: expect.stringContaining('it was last replayed to another place') as string,
    });
    const messages = allMessages(await readTopic(bootstrap, 'kh_files', { expected: 1000 })).map(
      ({ key, value }) => `${key?.toString('latin1') ?? '-'} ${value!.toString('latin1')}`,
    );
    const frames = framesOfFile();
    expect(messages).toEqual([...frames, ...frames]);
  });

  test("--stream: interleaved buckets keep their order; what can't be delivered is kept, with its reason", async () => {
    const topics = [await newTopic(bootstrap, 'replay'), await newTopic(bootstrap, 'replay')];
    const folder = await daemonFolder();
    await writeFile(join(folder, '.env.dev.local'), '');
    await writeFile(
      join(folder, 'buckets.json'),
      JSON.stringify({
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topics[0], streams: ['kafka'] }],
      }),
    );
    const file = join(folder, 'i.bckstm');
    await writeFile(
      file,
      Buffer.concat([
        ...range(0, 6000).map((n) => frame(topics[n % 2]!, `c:${Math.floor(n / 2)}:`)),
        frame('no topic', 'never'),
        frame(topics[0]!, Buffer.alloc(2_000_000, 'x')),
        frame(topics[1]!, 'c:3000:'),
      ]),
    );
    const ran = await replay({ folder, env: {} }, '--stream', 'kafka', file);
    expect(ran).toMatchObject({ code: 1, out: expect.stringContaining('6,003 frames sent') as string });
    expect(ran.out).toMatch(
      /6,003 frames: 6,001 delivered, 2 rejected \(1 the bucket name is no valid topic.*; 1 .*\[0\]: MESSAGE_TOO_LARGE\), in /,
    );
    expect(ran.err).toContain(join(folder, 'rejected'));
    const numbers = await Promise.all(
      topics.map(async (topic) =>
        numbersBySender(
          allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
        ).get('c'),
      ),
    );
    expect(numbers).toEqual([range(0, 3000), range(0, 3001)]);
    expect(
      parseFrames(await bytesBelow(join(folder, 'rejected'))).map(({ bucket, message }) => [
        bucket,
        message.length,
      ]),
    ).toEqual([
      ['no topic', 5],
      [topics[0], 2_000_000],
    ]);
  });
});

describe('files that the daemon sends itself', () => {
  test('of its spool, and of its backup with replay auto: left out while it runs, unless forced', async () => {
    const away = {
      ...kafkaStream('127.0.0.1:1', { 'message.timeout.ms': 300 }),
      backup: { ...fileStream('backup'), replay: 'auto' },
    };
    const place = await withDaemon(
      {
        streamsConfigs: { away, files: fileStream('data') },
        buckets: [{ id: 'orders', streams: ['away'], batchTimeout: 20 }],
        defaultBucket: { streams: ['files'], batchTimeout: 20 },
      },
      { SPOOL: './spool' },
    );
    const client = await place.daemon.connect();
    await client.send(numberedFrames('orders', 'c', { count: 20 }));
    await place.daemon.untilFiled('backup', 20);
    await mkdir(join(place.folder, 'spool/x'), { recursive: true });
    await writeFile(join(place.folder, 'spool/x/y.bckstm'), numberedFrames('mine', 'c', { count: 3 }));
    await writeFile(
      join(place.folder, 'backup/strangers.bckstm'),
      numberedFrames('mine', 'c', { from: 3, count: 3 }),
    );
    const ran = await replay(place, 'backup', 'spool/x/y.bckstm');
    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(
      /backup\/orders\/\d+\.bckstm: it is a file of a backup with replay "auto": the running daemon sends it itself; it is left out here/,
    );
    expect(ran.err).toMatch(
      /y\.bckstm: it lies in the spool \(.*\/spool\): the running daemon sends it itself/,
    );
    expect(ran.out).toContain('strangers.bckstm: 3 frames sent');
    expect((await replay(place, '--force', 'spool/x/y.bckstm')).out).toContain('3 frames sent');
    // With a spool, safe is not yet delivered.
    await place.daemon.untilFiled('data', 6);
    expect((await place.daemon.files('data')).map(({ message }) => message)).toEqual([
      'c:3:',
      'c:4:',
      'c:5:',
      'c:0:',
      'c:1:',
      'c:2:',
    ]);
  });
});

test('kahe inspect of much, read by a reader that has soon seen enough', async () => {
  const folder = await daemonFolder();
  await writeFile(join(folder, 'big.bckstm'), numberedFrames('orders', 'c', { count: 50_000 }));
  const text = execFileSync(
    'bash',
    ['-c', `set -o pipefail; "${process.execPath}" "${await builtDaemon()}" inspect big.bckstm | head -3`],
    { cwd: folder, encoding: 'utf8' },
  );
  expect(text.split('\n')).toHaveLength(4);
  expect(text).toContain('c:1:');
});

function framesOfFile(): string[] {
  const bytes = readFileSync(KAHEGO_FILE);
  const frames: string[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    const keyAt = at + 6 + bytes[at + 4]!;
    const messageAt = keyAt + bytes[keyAt - 1]!;
    frames.push(
      `${messageAt === keyAt ? '-' : bytes.toString('latin1', keyAt, messageAt)} ${bytes.toString('latin1', messageAt, at + 4 + bytes.readUInt32LE(at))}`,
    );
  }
  return frames;
}

describe('REJECTED', () => {
  const LIMITED = {
    streamsConfigs: { files: fileStream('data') },
    buckets: [
      { id: 'few', streams: ['files'], batchTimeout: 20, rateLimit: { frames: 100, perMs: 3_600_000 } },
    ],
  };

  test('send says what became of the frames; a replay of rejected ones moves them to a file of its own', async () => {
    const place = await withDaemon(LIMITED);
    await writeFile(
      join(place.folder, 'lines'),
      range(0, 200)
        .map((n) => `c:${n}:\n`)
        .join(''),
    );
    const sent = await runCli(['send', 'few', '--file', 'lines'], { cwd: place.folder, env: place.env });
    expect(sent).toMatchObject({
      code: 1,
      out: expect.stringMatching(
        /^200 frames: 100 delivered, 100 rejected \(over the rate limit of the bucket: 100 frames in 3600000 ms\)\n$/,
      ) as string,
    });
    const [first] = (await filesOf(join(place.folder, 'rejected'))) as [string];
    const again = await replay(place, '--remove', 'rejected');
    expect(again).toMatchObject({
      code: 1,
      out: expect.stringMatching(
        /\n100 frames: 100 rejected again \(over the rate limit of the bucket: .*\), in \d+s\n$/,
      ) as string,
    });
    const [second, ...more] = (await filesOf(join(place.folder, 'rejected'))) as [string];
    expect([second === first, more]).toEqual([false, []]);
    expect(
      (await readdir(join(place.folder, 'rejected'))).filter((name) =>
        name.includes(first.slice(first.lastIndexOf('/') + 1, -'.bckstm'.length)),
      ),
    ).toEqual([]);
    expect(
      numbersBySender(
        parseFrames(await bytesBelow(join(place.folder, 'rejected'))).map(({ message }) => message),
      ).get('c'),
    ).toEqual(range(100, 200));

    await place.daemon.stop();
    const lifted = await startDaemon({
      buckets: { ...LIMITED, buckets: [{ id: 'few', streams: ['files'], batchTimeout: 20 }] },
      folder: place.folder,
    });
    const last = await replay({ ...place, env: { SOCKET: lifted.socketPath } }, '--remove', 'rejected');
    expect(last).toMatchObject({
      code: 0,
      out: expect.stringContaining('100 frames: 100 delivered') as string,
    });
    expect(await readdir(join(place.folder, 'rejected'))).toEqual([]);
    expect((await sentNumbers(place.folder)).toSorted((a, b) => a - b)).toEqual(range(0, 200));
    expect(await lifted.stop()).toMatchObject({ code: 0 });
  });

  test('without --remove the file stays as it is while what is rejected again goes elsewhere', async () => {
    const place = await withDaemon(LIMITED);
    const client = await place.daemon.connect();
    await client.send(numberedFrames('few', 'c', { count: 150 }));
    expect(await client.receipt()).toBe(150);
    const [first] = (await filesOf(join(place.folder, 'rejected'))) as [string];
    const before = await readFile(first);
    expect((await replay(place, 'rejected')).out).toContain('50 frames: 50 rejected again');
    expect(await readFile(first)).toEqual(before);
    expect(await filesOf(join(place.folder, 'rejected'))).toHaveLength(2);
  });

  test('REJECTED_FULL=drop: a file is not removed when frames of it were discarded', async () => {
    const place = await withDaemon(LIMITED, { REJECTED_FULL: 'drop', REJECTED_MAX: '1KB' });
    await writeFile(join(place.folder, 'f.bckstm'), numberedFrames('few', 'c', { count: 300 }));
    const ran = await replay(place, '--remove', 'f.bckstm');
    expect(ran).toMatchObject({
      code: 1,
      out: expect.stringMatching(/300 frames: 100 delivered, .*discarded/) as string,
      err: expect.stringContaining(
        'not removed, because not everything in it is delivered or kept elsewhere',
      ) as string,
    });
    expect(parseFrames(await readFile(join(place.folder, 'f.bckstm')))).toHaveLength(300);

    // What the first run could not keep, the second one does not take for delivered.
    expect(await replay(place, '--remove', 'f.bckstm')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/f\.bckstm: \d+ frames of it were discarded .*--again/) as string,
    });
    expect(parseFrames(await readFile(join(place.folder, 'f.bckstm')))).toHaveLength(300);
  });
});
