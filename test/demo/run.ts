// Shows Kahe at work, in under a minute: a Kafka, the daemon, and senders that write 20,000 frames to two
// buckets; the broker is killed in the middle, so that frames go to the backup files; it comes back; one
// bucket's backup is sent by itself, the other one's by `kahe replay`; and it is counted what arrived where.
// On a terminal the status page stays until Enter. Leaves nothing behind.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseFrames } from '../../support/daemonFrames.js';
import { allMessages, readTopic, type Message } from '../../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../../support/kafkaServer.js';
import { freePorts } from '../../support/freePorts.js';
import { DemoDaemon } from './daemon.js';
import { findSender, sendWithNode } from './senders.js';

/** By how their backup is sent when Kafka is back. */
const REPLAY = { orders: 'auto', clicks: 'manual' } as const;
const BUCKETS = ['orders', 'clicks'] as const;
/** Senders of each bucket. */
const SENDERS = ['a', 'b'] as const;
/** Messages of each sender in the three acts; 20,000 in all. */
const ACTS = { before: 2500, killed: 625, away: 625, after: 1250 } as const;
const EACH = ACTS.before + ACTS.killed + ACTS.away + ACTS.after;
const TRICKLE_MS = 200;

const startedMs = Date.now();
const folder = mkdtempSync(path.join(os.tmpdir(), 'kahe-demo-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const { name, send } = findSender();
say(`Starting Apache Kafka, and the daemon. Senders: ${name}.`);
const kafka = await startKafka();
for (const bucket of BUCKETS) await kafka.createTopic(bucket, { partitions: 3 });
const [adminPort] = await freePorts(1);
const daemon = new DemoDaemon(folder, adminPort!);
await daemon.start(configuration(kafka));
say(`It is to be seen at ${daemon.page} all the while.`);

say(
  `Kafka is there: ${BUCKETS.length * SENDERS.length} senders write ${thousands(ACTS.before)} frames each.`,
);
await sendAll(0, ACTS.before);

say(
  `They write ${thousands(ACTS.killed)} more each, the broker is killed (kill -9) meanwhile, and ${thousands(ACTS.away)} more while it is away.`,
);
const sending = sendAll(ACTS.before, ACTS.killed);
await sleep(100);
await kafka.nodes[0]!.kill();
await sending;
await sendAll(ACTS.before + ACTS.killed, ACTS.away);

say('The broker comes back; the daemon tries it every 10 s.');
await kafka.nodes[0]!.start();
await daemon.waitForLines(/ switched to normal: /, BUCKETS.length);
await sendAll(ACTS.before + ACTS.killed + ACTS.away, ACTS.after);

say(
  'What arrived where. The backup of orders was sent first, by itself ("replay": "auto"); that of clicks ("manual") waits for somebody:',
);
const isRight = await showCounts(kafka);

say('kahe replay --remove backup/clicks');
for (const line of await daemon.command('replay', '--remove', 'backup/clicks')) console.log(`   ${line}`);
const isReplayed = await showReplayed(kafka);

if (process.stdin.isTTY) await leavePage();

const account = await daemon.stop();
say("The daemon's own account, replayed frames included:");
for (const line of account) console.log(`   ${line}`);
await kafka.close();
console.log(
  `\n${isRight && isReplayed ? 'Every frame is where it should be' : 'THE COUNTS DO NOT ADD UP'}; ${((Date.now() - startedMs) / 1000).toFixed(0)} s.`,
);
process.exit(isRight && isReplayed ? 0 : 1);

function configuration(server: KafkaServer): object {
  const stream = (bucket: (typeof BUCKETS)[number]): object => ({
    type: 'kafka',
    // Two seconds instead of ten, to be shown the backup sooner.
    settings: {
      'bootstrap.servers': server.bootstrap,
      acks: 'all',
      'compression.codec': 'snappy',
      'message.timeout.ms': 2000,
    },
    backup: {
      type: 'file',
      settings: { path: './backup', fileNameTemplate: '{bucket}{PS}{ts}.bckstm' },
      replay: REPLAY[bucket],
    },
  });
  return {
    streamsConfigs: Object.fromEntries(BUCKETS.map((bucket) => [`kafka_${bucket}`, stream(bucket)])),
    buckets: BUCKETS.map((id) => ({ id, streams: [`kafka_${id}`], batch: 1000, batchTimeout: 200 })),
  };
}

/** Frames go on coming, for a page on which nothing moves shows little. */
async function leavePage(): Promise<void> {
  say(`Look at ${daemon.page}: frames go on coming there. Enter ends the demo.`);
  const enter = new AbortController();
  process.stdin.once('data', () => enter.abort()).once('end', () => enter.abort());
  for (let id = EACH; !enter.signal.aborted; id += 10) {
    for (const bucket of BUCKETS)
      await sendWithNode({ socket: daemon.socket, bucket, sender: 'page', first: id, count: 10 });
    await sleep(TRICKLE_MS, undefined, { signal: enter.signal }).catch(() => undefined);
  }
  process.stdin.pause();
}

/** Every sender sends so many, and has them confirmed. */
async function sendAll(first: number, count: number): Promise<void> {
  const beganMs = Date.now();
  const sendings = BUCKETS.flatMap((bucket) =>
    SENDERS.map((sender) => ({ socket: daemon.socket, bucket, sender, first, count })),
  );
  const receipts = await Promise.all(sendings.map((each) => send(each)));
  const safe = receipts.reduce((sum, receipt) => sum + receipt, 0);
  console.log(
    `   ${thousands(safe)} of ${thousands(count * sendings.length)} frames are safe, say the receipts; ${Date.now() - beganMs} ms`,
  );
}

async function showCounts(server: KafkaServer): Promise<boolean> {
  console.log(row('bucket', 'sent', 'in Kafka', 'in backup files', 'missing', 'twice', 'order'));
  let isEveryRight = true;
  let isAnyTwice = false;
  for (const bucket of BUCKETS) {
    const partitions = await readTopic(server.bootstrap, bucket);
    const inKafka = allMessages(partitions).map(({ value }) => idOf(value));
    const inBackup = backupFiles(bucket).flatMap(idsOfFile);
    const all = [...inKafka, ...inBackup];
    const [sent, different] = [EACH * SENDERS.length, new Set(all).size];
    const [missing, twice] = [sent - different, all.length - different];
    const isOrdered = [...partitions.values()].every(isInOrder);
    console.log(
      row(
        bucket,
        ...[sent, inKafka.length, inBackup.length, missing, twice].map(thousands),
        isOrdered ? 'kept' : 'BROKEN',
      ),
    );
    isEveryRight &&= missing === 0 && isOrdered && inBackup.length > 0 === (REPLAY[bucket] === 'manual');
    isAnyTwice ||= twice > 0;
  }
  if (isAnyTwice)
    console.log(
      '   (twice: written by the broker that was killed before it could say so, and so sent again, or kept in the backup too)',
    );
  return isEveryRight;
}

async function showReplayed(server: KafkaServer): Promise<boolean> {
  let isEveryThere = true;
  for (const bucket of BUCKETS) {
    const ids = new Set(
      allMessages(await readTopic(server.bootstrap, bucket)).map(({ value }) => idOf(value)),
    );
    console.log(
      `   ${bucket}: ${thousands(ids.size)} of ${thousands(EACH * SENDERS.length)} different messages are in Kafka now`,
    );
    isEveryThere &&= ids.size === EACH * SENDERS.length && backupFiles(bucket).length === 0;
  }
  return isEveryThere;
}

/**
 * Do the messages of each sender stand in a partition in the order in which it sent them, but for second
 * copies?
 */
function isInOrder(messages: readonly Message[]): boolean {
  return SENDERS.every((sender) => {
    const ids = messages
      .map(({ value }) => JSON.parse(String(value)) as { sender: string; id: number })
      .filter((message) => message.sender === sender)
      .map(({ id }) => id);
    return [...new Set(ids)].every((id, index, all) => index === 0 || id > all[index - 1]!);
  });
}

function backupFiles(bucket: string): string[] {
  const below = path.join(folder, 'backup', bucket);
  try {
    return readdirSync(below)
      .filter((file) => file.endsWith('.bckstm'))
      .map((file) => path.join(below, file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function idsOfFile(file: string): string[] {
  return parseFrames(readFileSync(file), file).map(({ message }) => idOf(message));
}

function idOf(message: Buffer | string | null): string {
  const { sender, id } = JSON.parse(String(message)) as { sender: string; id: number };
  return `${sender}${id}`;
}

function say(text: string): void {
  console.log(`\n${((Date.now() - startedMs) / 1000).toFixed(1)} s  ${text}`);
}

function row(bucket: string, ...cells: string[]): string {
  return `   ${bucket.padEnd(10)}${cells.map((cell) => cell.padStart(16)).join('')}`;
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}
