// `kahe status`, as it is typed, against admin doors that answer what they are told to; and where it looks
// for one.
import { chmodSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { asNobody } from '../../support/asNobody.js';
import { type FakeIoOptions, type Ran, runHere } from '../../support/cliIo.js';
import { openFakeDoor, showing } from '../../support/fakeDoor.js';
import { freePorts } from '../../support/freePorts.js';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../support/snapshots.js';
import { newFolder } from '../../support/newFolder.js';
import { newAccount } from '../streams/account.js';

let folder: string;
let socket: string;

beforeEach(async () => {
  folder = newFolder();
  socket = join(folder, 'admin.sock');
  await writeFile(join(folder, '.env.dev.local'), 'ADMIN=./admin.sock');
});

function status(args: readonly string[] = [], more: Partial<FakeIoOptions> = {}): Promise<Ran> {
  return runHere(['status', ...args], { cwd: folder, ...more });
}

const TROUBLED = streamSnapshot({
  id: 'kafka',
  mode: 'backup',
  modeSinceMs: 40_000,
  lastProblem: { text: 'no broker\u001b[2J answers', atMs: 95_000 },
  account: {
    ...newAccount(),
    received: 5_000,
    delivered: 2_000,
    queued: 700,
    backedUp: 2_200,
    slicedOut: 90,
    rejected: 8,
    discarded: 2,
  },
});
const BUSY = snapshot({
  startedAtMs: 0,
  takenAtMs: 100_000,
  socket: { ...snapshot().socket, received: 12_000, bad: 3, open: 4, accepted: 1_500 },
  memory: { heldBytes: 1_300_000, encodedBytes: 0, limitBytes: 250 * 1024 ** 2 },
  spool: { path: '/s', bytes: 2_000_000, maxBytes: 10 * 1024 ** 3, isFull: false, failingSegments: 0 },
  paused: { isForMemory: false, isForSpool: false, ms: 61_000, times: 2 },
  buckets: [
    bucketSnapshot(
      'requests',
      [
        streamSnapshot({ id: 'files', account: { ...newAccount(), received: 12_000, delivered: 12_000 } }),
        TROUBLED,
      ],
      { backlog: { batches: 3, memoryBytes: 10, diskBytes: 4_096 } },
    ),
    bucketSnapshot('日本\u001b[31m', [streamSnapshot({ isAlive: false })]),
  ],
});

describe('kahe status', () => {
  test('ready: all of it at one look, and exit code 0', async () => {
    await openFakeDoor(socket, showing(BUSY));
    expect(await status()).toEqual({
      code: 0,
      err: '',
      out: `Kahe 1.2.3 on host, process 1, up 1m40s
ready, 1 stream in backup
  received     12,000 frames, 120 a second since the start; 3 bad
  connections  4 open, 1,500 since the start
  memory       1.2 MB of 250 MB held; the process has 1 B
  spool        1.9 MB of 10 GB
  paused       not now; 2 times until now, 1m01s in all

BUCKET                    STREAM  MODE              IN/S  OUT/S  RECEIVED  DELIVERED  QUEUED  BACKED UP  SLICED OUT  REJECTED  DISCARDED  BACKLOG
requests                  files   normal             120    120    12,000     12,000       0          0           0         0          0   4.0 KB
requests                  kafka   backup for 1m00s    50     20     5,000      2,000     700      2,200          90         8          2   4.0 KB
0xe697a5e69cac1b5b33316d  kafka   ended                0      0         0          0       0          0           0         0          0      0 B

BUCKET    STREAM  LAST PROBLEM
requests  kafka   5s ago: no broker\\u{1b}[2J answers
`,
    });
  });

  test('on a narrow terminal no line is too wide: columns that say nothing go first', async () => {
    await openFakeDoor(socket, showing(BUSY));
    for (const columns of [20, 40, 60, 80, 100, 120]) {
      const table = (await status([], { isTerminal: true, columns })).out.split('\n').slice(8);
      expect(Math.max(...table.map((line) => line.length))).toBeLessThanOrEqual(columns);
      expect(table.join('')).not.toContain('\u001b');
    }
    const quiet = snapshot({
      buckets: [
        bucketSnapshot('requests', [
          streamSnapshot({ account: { ...newAccount(), received: 1, rejected: 1 } }),
        ]),
      ],
    });
    await openFakeDoor(join(folder, 'quiet.sock'), showing(quiet));
    const [head] = (await status(['--admin', './quiet.sock'], { isTerminal: true, columns: 80 })).out
      .split('\n')
      .slice(8);
    expect(head).toContain('REJECTED');
    expect(head).not.toMatch(/DISCARDED|SLICED OUT/);
  });

  test('colour is only for a terminal that has it', async () => {
    await openFakeDoor(socket, showing(BUSY));
    expect((await status([], { isTerminal: true, hasColour: true, columns: 200 })).out).toContain(
      '\u001b[33mready, 1 stream in backup\u001b[0m',
    );
    await openFakeDoor(join(folder, 'quiet.sock'), showing(snapshot()));
    expect((await status(['--admin', './quiet.sock'], { isTerminal: true, hasColour: true })).out).toContain(
      '\u001b[32mready\u001b[0m',
    );
    expect((await status([], { isTerminal: true, hasColour: false })).out).not.toContain('\u001b');
  });

  test('not ready: exit code 1, with every reason', async () => {
    const bad = snapshot({
      isStopping: true,
      buckets: [
        bucketSnapshot('b', [streamSnapshot({ mode: 'error', lastProblem: { text: 'no disk', atMs: 0 } })]),
      ],
    });
    await openFakeDoor(socket, showing(bad));
    const { code, out } = await status();
    expect(code).toBe(1);
    expect(out.split('\n').slice(1, 3)).toEqual([
      'not ready: stopping',
      'not ready: bucket "b", stream kafka: mode error: no disk',
    ]);
    expect((await status(['--json'])).code).toBe(1);
  });

  test('--json is what the door has, as it came', async () => {
    await openFakeDoor(socket, showing(BUSY));
    expect(await status(['--json'])).toEqual({ code: 0, out: `${JSON.stringify(BUSY)}\n`, err: '' });
  });

  test('one that is just starting is not ready', async () => {
    await openFakeDoor(socket, (_request, response) => response.writeHead(503).end('starting\n'));
    expect(await status()).toEqual({ code: 1, out: '', err: 'kahe status: not ready: starting\n' });
  });
});

describe('where the daemon is', () => {
  test.each([
    [
      'nobody listens',
      'ADMIN=./none.sock',
      /no daemon answers on .*none\.sock: there is no such socket\. Does it run, with ADMIN there\? \(start it with: kahe\)$/,
    ],
    [
      'ADMIN is not set',
      '',
      /ADMIN is not set \(.*\.env\.dev\.local\), so the daemon can't be asked: set it, as ADMIN=\.\/admin\.sock, and restart the daemon; or say --admin PLACE/,
    ],
    [
      "the configuration can't be read",
      'ADMIN=here',
      /say --admin PLACE, or fix this:\n.*ADMIN: "here" is no address and no path/,
    ],
  ])('%s: exit code 3, and what to do', async (_what, env, says) => {
    await writeFile(join(folder, '.env.dev.local'), env);
    const { code, out, err } = await status();
    expect([code, out]).toEqual([3, '']);
    expect(err.trimEnd()).toMatch(says);
  });

  test('a door that this user may not use: it says whose it is, or its folder, and not that nobody is there', async () => {
    await mkdir(join(folder, 'hidden'));
    const hidden = join(folder, 'hidden', 'admin.sock');
    await openFakeDoor(socket, showing(BUSY));
    await openFakeDoor(hidden, showing(BUSY));
    chmodSync(socket, 0);
    chmodSync(folder, 0o755);
    const refused = await asNobody(() => status(['--admin', socket]));
    chmodSync(join(folder, 'hidden'), 0);
    const notSeen = await asNobody(() => status(['--admin', hidden]));
    chmodSync(join(folder, 'hidden'), 0o755);
    expect(refused).toMatchObject({
      code: 3,
      err: expect.stringMatching(
        /^kahe status: the daemon can't be asked on .*: you may not use it: it belongs to \S+, group \S+, mode 0000; use sudo\n$/,
      ) as string,
    });
    expect(notSeen).toMatchObject({
      code: 3,
      err: expect.stringMatching(
        /^kahe status: the daemon can't be asked on .*: you may not use it: it is in .*hidden, which belongs to \S+, group \S+, mode 0000; use sudo\n$/,
      ) as string,
    });
  });

  test('what answers is no Kahe', async () => {
    await openFakeDoor(socket, (_request, response) => response.end('{"hello\u001b[2J": 1}'));
    expect(await status()).toEqual({
      code: 3,
      out: '',
      err: `kahe status: what answers on ${socket} is no Kahe: 200 {"hello\\u{1b}[2J": 1}\n`,
    });
  });

  test('one that answers only half is no daemon', async () => {
    await openFakeDoor(socket, (_request, response) => {
      response.writeHead(200, { 'Content-Length': 1000 }).write('{"program":', () => response.destroy());
    });
    expect(await status()).toMatchObject({
      code: 3,
      err: expect.stringMatching(/no daemon answers on .*admin\.sock: aborted/) as string,
    });
  });

  test('--admin, as a path, an address or what the log shows; no place is a wrong command line', async () => {
    const [port] = await freePorts(1);
    await openFakeDoor(port!, showing(BUSY));
    await openFakeDoor(socket, showing(snapshot()));
    for (const place of [`127.0.0.1:${port}`, `localhost:${port}`, `http://127.0.0.1:${port}/`]) {
      expect(await status(['--admin', place])).toMatchObject({
        code: 0,
        out: expect.stringContaining('up 1m40s') as string,
      });
    }
    expect(await status(['--admin=./admin.sock'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('up 1s') as string,
    });
    expect(await status(['--admin', 'nowhere'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--admin: "nowhere" is no address and no path') as string,
    });
  });

  test('of several places the first that answers, sockets first; when none does, all are named', async () => {
    const [port, closed] = await freePorts(2);
    await writeFile(join(folder, '.env.dev.local'), `ADMIN=127.0.0.1:${port},./admin.sock`);
    await openFakeDoor(port!, showing(snapshot()));
    expect((await status()).out).toContain('up 1s');
    await openFakeDoor(socket, showing(BUSY));
    expect((await status()).out).toContain('up 1m40s');
    await writeFile(join(folder, '.env.dev.local'), `ADMIN=127.0.0.1:${closed},./none.sock`);
    expect((await status()).err).toMatch(
      /no daemon answers on .*none\.sock: there is no such socket; nor on http:\/\/127\.0\.0\.1:\d+\/: nobody listens there\. /,
    );
  });

  test('without a file, ADMIN of the real environment is enough', async () => {
    await rm(join(folder, '.env.dev.local'));
    await openFakeDoor(socket, showing(snapshot()));
    expect(await status([], { env: { ADMIN: './admin.sock' } })).toMatchObject({ code: 0 });
  });
});
