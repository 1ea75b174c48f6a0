// The process dies at a named point of sending its backup to a Kafka that is back: the next life goes on by
// itself, what comes twice is a piece at most for each death, and nothing is left of the backup.
import { expect, inject, onTestFinished, test } from 'vitest';
import {
  daemonFolder,
  filesOf,
  launchDaemon,
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';
import { startProxy } from '../../support/tcpProxy.js';
import path from 'node:path';
import { appendRecord } from './record.js';
import type { PlannedFault } from './badMachine.js';
import { everyFile, launchOnBadDisk } from './machines.js';
import { isFull } from './sizes.js';

const { bootstrap } = inject('kafka');
const FRAME_BYTES = 500;
const FRAMES = 8_000;
const PIECE_BYTES = 1024 ** 2;
const JOURNAL = '/backup/\\.kahe/[^/]+\\.json\\.tmp$';
const BACKUP = '/backup/[^/]+/[^/]+\\.bckstm$';
const TIMES = '/backup/\\.kahe/[^/]+\\.times$';

const POINTS: readonly (readonly [string, Omit<PlannedFault, 'times'>])[] = [
  ['a piece was read', { call: 'read', path: BACKUP, after: 1, dies: 'after' }],
  ['a piece was sent and that is not noted', { call: 'rename', path: JOURNAL, after: 1, dies: 'before' }],
  ['a piece was sent and that is noted', { call: 'rename', path: JOURNAL, after: 1, dies: 'after' }],
  ['before a file that was sent is removed', { call: 'unlink', path: BACKUP, dies: 'before' }],
  ['a file that was sent is removed and still noted', { call: 'unlink', path: BACKUP, dies: 'after' }],
  ['the times of a file that was sent are removed', { call: 'unlink', path: TIMES, dies: 'after' }],
];
const QUICK = [1, 4];

test.each(POINTS.filter((_, i) => isFull || QUICK.includes(i)))(
  '%s, three times in a row',
  async (name, fault) => {
    const topic = await newTopic(bootstrap, 'replay-crash');
    const proxy = await startProxy({ target: { port: Number(bootstrap.split(':')[1]) } });
    onTestFinished(() => proxy.close());
    proxy.faults.refuse = true;
    const folder = await daemonFolder();
    const kafka = kafkaStream(
      `127.0.0.1:${proxy.port}`,
      { 'message.timeout.ms': 500 },
      { backup: fileStream('backup', { sizeRotate: '1MB' }) },
    );
    const options = {
      buckets: {
        streamsConfigs: { kafka },
        buckets: [{ id: topic, streams: ['kafka'], batch: 500, batchTimeout: 20 }],
      },
      folder,
    };
    const filling = await startDaemon(options);
    const client = await filling.connect();
    for (let from = 0; from < FRAMES; from += 1000)
      await client.send(numberedFrames(topic, 'a', { from, count: 1000, bytes: FRAME_BYTES }));
    expect(await client.receipt()).toBe(FRAMES);
    await filling.stop();
    expect((await filesOf(path.join(folder, 'backup'))).length).toBeGreaterThan(3);

    proxy.faults.refuse = false;
    const deaths = 3;
    for (let death = 0; death < deaths; death++) {
      const dying = await launchOnBadDisk(options, [fault]);
      await dying.until(`the point where it dies: ${name}`, () => !dying.isRunning);
      expect(await dying.exited).toEqual({ code: null, signal: 'SIGKILL' });
    }
    const startedMs = Date.now();
    const last = await launchDaemon(options);
    await last.until(
      'nothing in the backup',
      async () => (await filesOf(path.join(folder, 'backup'))).length === 0,
    );
    const recoverMs = Date.now() - startedMs;
    await last.line(/switched to normal/);
    expect(await last.stop()).toMatchObject({ code: 0 });

    const numbers = numbersBySender(
      allMessages(await readTopic(bootstrap, topic)).map(({ value }) => value!.toString()),
    ).get('a')!;
    expect([...new Set(numbers)]).toEqual(range(0, FRAMES));
    const repeated = numbers.length - FRAMES;
    expect(repeated).toBeLessThanOrEqual(deaths * Math.ceil(PIECE_BYTES / FRAME_BYTES));
    expect(
      (await everyFile(path.join(folder, 'backup'))).filter(
        (file) => file.endsWith('.bckstm') || file.endsWith('.tmp'),
      ),
    ).toEqual([]);
    expect(last.accounts.get(`${topic}/kafka`)).toMatchObject({
      backedUp: 0,
      queued: 0,
      discarded: 0,
      rejected: 0,
    });
    appendRecord({
      fault: `kill -9 in a replay: ${name}`,
      arrangement: 'backup with replay',
      size: isFull ? 'full' : 'quick',
      runs: deaths,
      sent: FRAMES,
      lost: 0,
      duplicated: repeated,
      keylessDisordered: 0,
      recoverMs,
      peakRssMb: undefined,
    });
  },
  90_000,
);
