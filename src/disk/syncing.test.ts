import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Log } from '../log/log.js';
import { FailingDisk } from '../../support/failingDisk.js';
import { FILE_MODE, NEW_FILE, type FileSystem } from './fileSystem.js';
import { syncing } from './syncing.js';
import { replaceWholeFile } from './wholeFile.js';

let [disk, place, lines]: [FailingDisk, string, string[]] = [new FailingDisk(), '', []];
beforeEach(async () => {
  [disk, place, lines] = [new FailingDisk(), await mkdtemp(join(tmpdir(), 'kahe-syncing-')), []];
});
afterEach(async () => {
  expect(disk.openFiles).toBe(0);
  await rm(place, { recursive: true });
});

function ruled({ isSynced = true, at = place } = {}): FileSystem {
  return syncing(disk.fs, { place: at, isSynced, log: new Log('DEBUG', (line) => lines.push(line)) });
}

/** Every kind of sync there is: of a file's bytes, of a file, of a folder. */
async function syncAll(fs: FileSystem, name: string): Promise<void> {
  const file = await fs.open(join(place, name), NEW_FILE, FILE_MODE);
  try {
    await file.write(Buffer.from('frame'), 0, 5);
    await file.datasync();
  } finally {
    await file.close();
  }
  await replaceWholeFile(fs, join(place, `${name}.json`), '{}', { lasts: true });
}

test.each(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'])(
  'where a sync is answered with %s all is written, and one warning names the place',
  async (code) => {
    for (const call of ['datasync', 'sync'] as const) disk.fail({ call, code });
    for (const [name, fs] of [
      ['a', ruled()],
      ['b', ruled()],
    ] as const)
      await syncAll(fs, name);
    expect(await readFile(join(place, 'b'), 'utf8')).toBe('frame');
    expect(lines).toEqual([
      expect.stringMatching(
        new RegExp(
          `WARN .*${place}: its file system has no fsync \\(${code}.*a power cut may take it; use a local disk`,
        ),
      ),
    ]);
    await syncAll(ruled({ at: join(place, 'other') }), 'c');
    expect(lines).toEqual([
      lines[0],
      expect.stringContaining(`${join(place, 'other')}: its file system has no fsync`),
    ]);
  },
);

test.each([
  ['datasync', /a$/],
  ['sync', /tmp$/],
  ['sync', /kahe-syncing-[^/]*$/],
] as const)('a %s of %s that fails with EIO is an error: bytes may be lost', async (call, path) => {
  disk.fail({ call, path, code: 'EIO' });
  await expect(syncAll(ruled(), 'a')).rejects.toThrow('EIO: injected');
  expect(lines).toEqual([]);
});

test('what is not to be synced is not, and nobody is warned', async () => {
  for (const call of ['datasync', 'sync'] as const) disk.fail({ call, code: 'EINVAL' });
  await syncAll(ruled({ isSynced: false }), 'a');
  expect(await readFile(join(place, 'a'), 'utf8')).toBe('frame');
  expect(disk.count('datasync') + disk.count('sync')).toBe(0);
  expect(lines).toEqual([]);
});
