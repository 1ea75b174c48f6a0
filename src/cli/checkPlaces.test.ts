// What a start needs of this machine, tried on disks that this machine need not have.
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { FailingDisk } from '../../support/failingDisk.js';
import { newFolder } from '../../support/newFolder.js';
import { parseBuckets } from '../config/buckets.js';
import { loadEnvironment } from '../config/env.js';
import { tryPlaces } from './checkPlaces.js';

let folder: string;
beforeEach(() => {
  folder = newFolder();
});

/** Spool, REJECTED and two file streams, of which one is not to be synced. */
async function tried(disk: FailingDisk, sync = 'batch'): Promise<string[]> {
  const stream = (path: string, fsync: boolean): object => ({
    type: 'file',
    settings: { path: join(folder, path), fsync },
  });
  const streamsConfigs = { a: stream('a', true), b: stream('b', false) };
  const buckets = parseBuckets(
    JSON.stringify({ streamsConfigs, buckets: [{ id: 'x', streams: ['a', 'b'] }] }),
    'buckets.json',
    folder,
  );
  const env = { SOCKET: './kahe.sock', SPOOL: './spool', SPOOL_SYNC: sync };
  const places = await tryPlaces(loadEnvironment({ cwd: folder, env }), buckets, {}, disk.fs);
  return places
    .slice(1)
    .map(({ what, state, says }) => `${state} ${what}: ${says}`.replaceAll(folder, 'HERE'));
}

test('a file system without fsync is used by the daemon, with a warning: the check warns of it too', async () => {
  const disk = new FailingDisk();
  disk.fail({ call: 'datasync', code: 'EINVAL' });
  const told = (what: string): unknown =>
    expect.stringMatching(
      new RegExp(`^warning ${what}, folder HERE/\\w+: HERE/\\w+: its file system has no fsync \\(EINVAL`),
    );
  expect(await tried(disk)).toEqual([
    told('SPOOL'),
    told('REJECTED'),
    told('stream a'),
    'ok stream b, folder HERE/b: it is not there yet; it can be made, because HERE can be written',
  ]);
});

test('a sync that fails is a failure; where nothing is synced none is tried', async () => {
  const disk = new FailingDisk();
  disk.fail({ call: 'datasync', code: 'EIO' });
  expect((await tried(disk)).map((line) => line.split(' ')[0])).toEqual([
    'failure',
    'failure',
    'failure',
    'ok',
  ]);
  expect((await tried(disk, 'never')).map((line) => line.split(' ')[0])).toEqual([
    'ok',
    'ok',
    'failure',
    'ok',
  ]);
});
