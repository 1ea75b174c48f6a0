// The process dies at a named point of its work with the disk: once, three times in a row, and again while it
// recovers. What a receipt confirmed is delivered after a plain restart, in order, with no more than what was
// on its way twice; no file is left over, and nobody helps.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeCheckpoint } from '../../src/frames/checkpoint.js';
import { daemonFolder, numberedFrames, type TestDaemon } from '../../support/daemon.js';
import { fileStream } from '../../support/daemonBuckets.js';
import { kafkaAway } from '../../support/daemonKafka.js';
import { isUp, launchReady, segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import type { PlannedFault } from './badMachine.js';
import { bucketsTo, everyFile, expectNoOrphans, launchOnBadDisk } from './machines.js';
import {
  BATCH,
  BUCKET,
  WINDOW,
  bySender,
  judge,
  note,
  randomOf,
  record,
  senders,
  sentBy,
  sum,
  type Sent,
} from './senders.js';
import { isFull } from './sizes.js';

const SEGMENT = '/spool/orders/[^/]+\\.bckstm$';
const SPOOL_FOLDER = '/spool/orders$';
const ASIDE = '/spool/orders/damaged/';
const DRAFT = '/backup/\\.kahe/[^/]+\\.json\\.tmp$';
const BACKUP = '/backup/orders/[^/]+\\.bckstm$';

/**
 * `away`: Kafka is, and frames stay in the spool. `files`: they are delivered to files. `backup`: Kafka is
 * away, and they go to backup files.
 */
type Life = 'away' | 'files' | 'backup';

interface CrashPoint {
  readonly name: string;
  readonly life: Life;
  readonly fault: Omit<PlannedFault, 'times'>;
}

function at(life: Life, name: string, fault: CrashPoint['fault']): CrashPoint {
  return { name, life, fault };
}

const POINTS: readonly CrashPoint[] = [
  at('away', 'the spool is proven', { call: 'write', path: '/spool/\\.kahe-probe', dies: 'after' }),
  at('away', 'a segment is created', { call: 'open', path: SEGMENT, after: 12, dies: 'after' }),
  at('away', 'a piece is half written', {
    call: 'write',
    path: SEGMENT,
    after: 30,
    short: 1000,
    dies: 'after',
  }),
  at('away', "a piece is written but for its checkpoint's end", {
    call: 'write',
    path: SEGMENT,
    after: 0,
    short: 200,
    dies: 'after',
  }),
  at('away', 'a piece is written', { call: 'write', path: SEGMENT, after: 30, dies: 'after' }),
  at('away', 'before a datasync', { call: 'datasync', path: SEGMENT, after: 30, dies: 'before' }),
  at('away', 'after a datasync', { call: 'datasync', path: SEGMENT, after: 30, dies: 'after' }),
  at('away', 'before the folder is synced', { call: 'sync', path: SPOOL_FOLDER, after: 20, dies: 'before' }),
  at('away', 'after the folder is synced', { call: 'sync', path: SPOOL_FOLDER, after: 20, dies: 'after' }),
  at('away', 'a segment is sealed', { call: 'close', path: SEGMENT, after: 25, dies: 'after' }),
  at('files', 'before a segment is removed', { call: 'unlink', path: SEGMENT, after: 20, dies: 'before' }),
  at('files', 'after a segment is removed', { call: 'unlink', path: SEGMENT, after: 20, dies: 'after' }),
  at('backup', 'a backup file is created', { call: 'open', path: BACKUP, dies: 'after' }),
  at('backup', "a backup file's facts are known", { call: 'facts', path: BACKUP, dies: 'after' }),
  at('backup', "a journal's draft is half written", { call: 'write', path: DRAFT, short: 40, dies: 'after' }),
  at('backup', "a journal's draft is written", { call: 'sync', path: DRAFT, dies: 'after' }),
  at('backup', 'a journal is renamed', { call: 'rename', path: DRAFT, dies: 'after' }),
  at('backup', 'a backup batch is half written', {
    call: 'write',
    path: BACKUP,
    after: 3,
    short: 777,
    dies: 'after',
  }),
  at('backup', 'a backup batch is written before it is told', {
    call: 'write',
    path: BACKUP,
    after: 3,
    dies: 'after',
  }),
  at('backup', 'a backup batch is synced before it is told', {
    call: 'datasync',
    path: BACKUP,
    after: 3,
    dies: 'after',
  }),
];

const IN_RECOVERY: readonly CrashPoint[] = [
  at('files', 'before the first read', { call: 'read', path: SEGMENT, dies: 'before' }),
  at('files', 'after the first read', { call: 'read', path: SEGMENT, dies: 'after' }),
  at('files', 'the first segment is read', { call: 'read', path: SEGMENT, after: 1, dies: 'after' }),
  at('files', 'the second segment is read', { call: 'read', path: SEGMENT, after: 2, dies: 'after' }),
  at('files', 'a file of damaged bytes is created', { call: 'open', path: ASIDE, dies: 'after' }),
  at('files', 'damaged bytes are put aside in part', {
    call: 'write',
    path: ASIDE,
    short: 10,
    dies: 'after',
  }),
  at('files', 'damaged bytes are put aside', { call: 'write', path: ASIDE, dies: 'after' }),
  at('files', 'before the first segment is removed', { call: 'unlink', path: SEGMENT, dies: 'before' }),
  at('files', 'after the first segment is removed', { call: 'unlink', path: SEGMENT, dies: 'after' }),
];

/** One folder, in which daemons live and die until a last one may end its work. */
class Lives {
  readonly all: Sent[] = [];
  readonly #random = randomOf(20_261);
  #crashes = 0;

  private constructor(
    readonly folder: string,
    readonly streams: Readonly<Record<Life, object>>,
  ) {}

  static async begin(): Promise<Lives> {
    const backup = {
      type: 'file',
      settings: { path: 'backup', fileNameTemplate: '{bucket}{PS}{ts}.bckstm', sizeRotate: '300KB' },
    };
    return new Lives(await daemonFolder(), {
      away: await kafkaAway(),
      files: fileStream('data'),
      backup: await kafkaAway({ backup }),
    });
  }

  get env(): Record<string, string> {
    return { SPOOL: './spool', SPOOL_SYNC: 'always' };
  }

  /** A life that ends at this point, with senders when it comes so far. */
  async crash({ name, life, fault }: CrashPoint): Promise<void> {
    const daemon = await launchOnBadDisk(
      { buckets: bucketsTo(this.streams[life]), env: this.env, folder: this.folder },
      [fault],
    );
    const cameUp = await isUp(daemon).then(
      () => true,
      () => false,
    );
    const own = cameUp ? await senders(daemon, `life${++this.#crashes}`, this.#random) : [];
    this.all.push(...own);
    await daemon.until(`the point where it dies: ${name}`, () => !daemon.isRunning);
    expect(await daemon.exited, name).toEqual({ code: null, signal: 'SIGKILL' });
    await Promise.all(own.map(({ ended }) => ended));
  }

  /**
   * The last life, without a fault: it delivers everything.
   * @returns how many frames came twice, and how long that took
   */
  async end(
    life: Life,
    what: string,
  ): Promise<{ readonly daemon: TestDaemon; readonly repeated: number; readonly ms: number }> {
    const startedMs = Date.now();
    const daemon = await launchReady({
      buckets: bucketsTo(this.streams[life]),
      env: this.env,
      folder: this.folder,
    });
    await untilSpoolEmpty(daemon);
    const ms = Date.now() - startedMs;
    expect(await daemon.stop(), what).toMatchObject({ code: 0 });
    return {
      daemon,
      repeated: judge(this.all, bySender(await daemon.files(life === 'backup' ? 'backup' : 'data')), what),
      ms,
    };
  }

  /**
   * Nothing is left in the spool but what was put aside, nothing beside the files of streams but what is
   * known.
   */
  async expectTidy(aside: readonly string[] = []): Promise<void> {
    expect(await everyFile(path.join(this.folder, 'spool'))).toEqual(['format.json', ...aside]);
    for (const name of ['data', 'backup']) await expectNoOrphans(path.join(this.folder, name));
  }

  /** A segment of an earlier life with a damaged piece between two sound ones. @returns the damaged bytes */
  leaveDamage(): { readonly bytes: Buffer; readonly name: string } {
    const pieces = [0, 1, 2].map((piece) =>
      numberedFrames(BUCKET, piece === 1 ? 'broken' : 'early', {
        from: piece === 2 ? 5 : 0,
        count: 5,
        bytes: 100,
      }),
    );
    const [sound, broken, last] = pieces.map((frames) =>
      Buffer.concat([frames, encodeCheckpoint(frames, 5, 1)]),
    ) as [Buffer, Buffer, Buffer];
    broken[50]! ^= 1;
    const name = '0000000000001-00000001.bckstm';
    mkdirSync(path.join(this.folder, 'spool', BUCKET), { recursive: true });
    writeFileSync(path.join(this.folder, 'spool', BUCKET, name), Buffer.concat([sound, broken, last]));
    this.all.push({ name: 'early', sent: 10, receipted: 10 });
    return { bytes: broken, name: `${BUCKET}/damaged/${name}.${sound.length}` };
  }
}

function report(
  point: string,
  lives: Lives,
  crashes: number,
  { repeated, ms }: { readonly repeated: number; readonly ms: number },
): void {
  expect(repeated, point).toBeLessThanOrEqual(crashes * WINDOW * BATCH);
  const { all } = lives;
  record(`kill -9 at a point of the disk's work: ${point}`, 'spool', {
    runs: crashes,
    sent: sentBy(all),
    duplicated: repeated,
    recoverMs: ms,
  });
  note(point, {
    crashes,
    sent: sentBy(all),
    receipted: sum(all.map(({ receipted }) => receipted)),
    'came twice': repeated,
    'ms to recover': ms,
  });
}

/** Their likes are in the quick run. */
const ONLY_IN_FULL = new Set([
  'a piece is written',
  'before a datasync',
  'after the folder is synced',
  "a backup file's facts are known",
  "a journal's draft is written",
  'after the first read',
  'the first segment is read',
  'damaged bytes are put aside',
]);

function inThisRun(points: readonly CrashPoint[]): readonly CrashPoint[] {
  return points.filter(({ name }) => isFull || !ONLY_IN_FULL.has(name));
}

describe('dies where', () => {
  test.each(inThisRun(POINTS).map((point) => [point.name, point] as const))('%s', async (name, point) => {
    const lives = await Lives.begin();
    const last = point.life === 'backup' ? 'backup' : 'files';
    await lives.crash(point);
    report(name, lives, 1, await lives.end(last, name));
    await lives.expectTidy();
  });

  test.each(inThisRun(IN_RECOVERY).map((point) => [point.name, point] as const))(
    'in recovery %s',
    async (name, point) => {
      const lives = await Lives.begin();
      const damage = lives.leaveDamage();
      await lives.crash(POINTS.find(({ fault }) => fault.call === 'close')!);
      await lives.crash(point);
      report(`in recovery ${name}`, lives, 2, await lives.end('files', name));
      await lives.expectTidy([damage.name]);
      expect(readFileSync(path.join(lives.folder, 'spool', damage.name))).toEqual(damage.bytes);
    },
  );
});

// In quick some of them, each another way of dying.
const some = ['a piece is half written', 'a journal is renamed'];
const inARow = isFull ? POINTS : POINTS.filter(({ name }) => some.includes(name));

describe('dies three times in a row where', () => {
  test.each(inARow.map((point) => [point.name, point] as const))('%s', async (name, point) => {
    const lives = await Lives.begin();
    for (let i = 0; i < 3; i++) await lives.crash(point);
    report(
      `three in a row, ${name}`,
      lives,
      3,
      await lives.end(point.life === 'backup' ? 'backup' : 'files', name),
    );
    await lives.expectTidy();
  });
});

describe('dies, and in recovery again and again, where', () => {
  const points = (isFull ? POINTS : POINTS.filter(({ name }) => name === 'a piece is half written')).filter(
    ({ life, name }) => life === 'away' && name !== 'the spool is proven',
  );
  test.each(points.map((point) => [point.name, point] as const))('%s', async (name, point) => {
    const lives = await Lives.begin();
    const damage = lives.leaveDamage();
    await lives.crash(point);
    for (const again of IN_RECOVERY) await lives.crash(again);
    report(`again in recovery, ${name}`, lives, 1 + IN_RECOVERY.length, await lives.end('files', name));
    await lives.expectTidy([damage.name]);
    expect(
      await segments(
        await launchReady({ buckets: bucketsTo(lives.streams.files), env: lives.env, folder: lives.folder }),
      ),
    ).toEqual([]);
  });
});
