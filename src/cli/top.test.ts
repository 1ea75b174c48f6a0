// `kahe top` where there is no screen: blocks of lines, with a door that comes and goes; and wrong command
// lines.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { FakeIo, type Ran, runHere } from '../../support/cliIo.js';
import { openFakeDoor, showing } from '../../support/fakeDoor.js';
import { bucketSnapshot, snapshot, streamSnapshot } from '../../support/snapshots.js';
import { newFolder } from '../../support/newFolder.js';
import { newAccount } from '../streams/account.js';
import { commandNamed, runCommand } from './commands.js';

let folder: string;

beforeEach(async () => {
  folder = newFolder();
  await writeFile(join(folder, '.env.dev.local'), 'ADMIN=./admin.sock');
});

const LOOKS = [0, 1, 2, 3].map((second) =>
  snapshot({
    takenAtMs: 10_000 + second * 1_000,
    buckets: [
      bucketSnapshot('requests', [
        streamSnapshot({ account: { ...newAccount(), received: second * second * 10 } }),
      ]),
    ],
  }),
);

function top(...args: string[]): Promise<Ran> {
  return runHere(['top', '--interval', '0.1', ...args], { cwd: folder });
}

function inPerSecond(out: string): string[] {
  return [...out.matchAll(/^requests +kafka +normal +(\S+)/gm)].map((found) => found[1]!);
}

test('a block for each look after the first, and an end after so many', async () => {
  await openFakeDoor(join(folder, 'admin.sock'), showing(...LOOKS));
  const { code, out, err } = await top('--count', '3');
  expect([code, err, inPerSecond(out)]).toEqual([0, '', ['10', '30', '50']]);
  const [time, title, flow, ready, head] = out.split('\n');
  expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect([title, ready, head]).toEqual([
    'Kahe 1.2.3 on host, process 1, up 10s',
    'ready',
    'BUCKET    STREAM  MODE    IN/S  OUT/S  BYTES/S  QUEUED  BACKED UP  LAST PROBLEM',
  ]);
  expect(flow).toContain('memory 1 B of 100 B');
});

test('a daemon that goes away is reported and tried again; gone at the last look: exit code 3', async () => {
  const io = new FakeIo({ cwd: folder });
  let close = await openFakeDoor(join(folder, 'admin.sock'), showing(...LOOKS));
  const ended = runCommand(commandNamed('top'), ['--interval', '0.1'], io);
  await expect.poll(() => inPerSecond(io.outText).length, { timeout: 20_000 }).toBeGreaterThan(0);
  close();
  await expect
    .poll(() => io.outText, { timeout: 20_000 })
    .toMatch(/since \d\d:\d\d:\d\d UTC, tried again at each look: no daemon answers on .*admin\.sock/);
  const shown = inPerSecond(io.outText).length;
  close = await openFakeDoor(
    join(folder, 'admin.sock'),
    showing({ ...LOOKS[0]!, startedAtMs: 9_000 }, { ...LOOKS[1]!, startedAtMs: 9_000 }),
  );
  await expect
    .poll(() => inPerSecond(io.outText).slice(shown, shown + 2), { timeout: 20_000 })
    .toEqual(['-', '10']);
  io.stop();
  expect(await ended).toBe(0);
  close();
  const gone = await openFakeDoor(join(folder, 'admin.sock'), (request, response) => {
    showing(LOOKS[0]!)(request, response);
    gone();
  });
  expect((await top('--count', '1')).code).toBe(3);
});

test('when nobody answers from the start there is nothing to wait for: exit code 3', async () => {
  expect(await top()).toMatchObject({
    code: 3,
    out: '',
    err: expect.stringContaining('no daemon answers') as string,
  });
});

test.each([
  ['--interval', '0.01'],
  ['--interval', '100000'],
  ['--count', '1.5'],
  ['--sort', 'size'],
  ['requests'],
])('%s %s is a wrong command line', async (...args) => {
  expect((await runHere(['top', ...args], { cwd: folder })).code).toBe(2);
});
