// Shows Kahe at work, in under a minute: a Kafka, the daemon, and senders that write 20,000 frames to two buckets; the broker is killed in the
// middle, so that frames go to the backup files; it comes back; and then it is counted what arrived where. Leaves nothing behind.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseFrames } from '../support/daemonFrames.js';
import { allMessages, readTopic, type Message } from '../support/kafkaReader.js';
import { startKafka, type KafkaServer } from '../support/kafkaServer.js';
import { DemoDaemon } from './daemon.js';
import { findSender, sendBytes } from './senders.js';

const BUCKETS = ['orders', 'clicks'] as const;
/** Senders of each bucket. */
const SENDERS = ['a', 'b'] as const;
/** Messages of each sender in the three acts; 20,000 in all. */
const ACTS = { before: 2500, away: 1250, after: 1250 } as const;
const EACH = ACTS.before + ACTS.away + ACTS.after;

const startedMs = Date.now();
const folder = mkdtempSync(path.join(os.tmpdir(), 'kahe-demo-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const { name, send } = findSender();
say(`Starting Apache Kafka, and the daemon. Senders: ${name}.`);
const kafka = await startKafka();
for (const bucket of BUCKETS) await kafka.createTopic(bucket, { partitions: 3 });
const daemon = new DemoDaemon(folder);
await daemon.start(configuration(kafka));

say(`Kafka is there: ${BUCKETS.length * SENDERS.length} senders write ${thousands(ACTS.before)} frames each.`);
await sendAll(0, ACTS.before);

say(`They write ${thousands(ACTS.away)} more each, and the broker is killed (kill -9) meanwhile.`);
const sending = sendAll(ACTS.before, ACTS.away);
await sleep(100);
await kafka.nodes[0]!.kill();
await sending;

say('The broker comes back; the daemon tries it every 10 s.');
await kafka.nodes[0]!.start();
// A bucket whose frames were all delivered before the kill has never left Kafka.
await daemon.waitForLines(/ mode normal: /, BUCKETS.filter((bucket) => backupFiles(bucket).length > 0).length);
await sendAll(ACTS.before + ACTS.away, ACTS.after);

say('What arrived where:');
const isRight = await showCounts(kafka);

say('The backup files hold plain frames: they are written to the socket as they are.');
for (const bucket of BUCKETS) for (const file of backupFiles(bucket)) await sendBytes(daemon.socket, [readFileSync(file)]);
const isReplayed = await showReplayed(kafka);

const account = await daemon.stop();
say('The daemon\'s own account, replayed frames included:');
for (const line of account) console.log(`   ${line}`);
await kafka.close();
console.log(`\n${isRight && isReplayed ? 'Every frame is where it should be' : 'THE COUNTS DO NOT ADD UP'}; ${((Date.now() - startedMs) / 1000).toFixed(0)} s.`);
process.exit(isRight && isReplayed ? 0 : 1);

function configuration(server: KafkaServer): object {
  return {
    streamsConfigs: {
      kafka: {
        type: 'kafka',
        // Two seconds instead of ten, to be shown the backup sooner.
        settings: { 'bootstrap.servers': server.bootstrap, acks: 'all', 'compression.codec': 'snappy', 'message.timeout.ms': 2000 },
        backup: { type: 'file', settings: { path: './backup', fileNameTemplate: '{bucket}{PS}{ts}.bckstm' } },
      },
    },
    buckets: BUCKETS.map((id) => ({ id, streams: ['kafka'], batch: 1000, batchTimeout: 200 })),
  };
}

/** Every sender sends so many, and has them confirmed. */
async function sendAll(first: number, count: number): Promise<void> {
  const beganMs = Date.now();
  const sendings = BUCKETS.flatMap((bucket) => SENDERS.map((sender) => ({ socket: daemon.socket, bucket, sender, first, count })));
  const receipts = await Promise.all(sendings.map((each) => send(each)));
  const safe = receipts.reduce((sum, receipt) => sum + receipt, 0);
  console.log(`   ${thousands(safe)} of ${thousands(count * sendings.length)} frames are safe, say the receipts; ${Date.now() - beganMs} ms`);
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
    console.log(row(bucket, ...[sent, inKafka.length, inBackup.length, missing, twice].map(thousands), isOrdered ? 'kept' : 'BROKEN'));
    isEveryRight &&= missing === 0 && isOrdered;
    isAnyTwice ||= twice > 0;
  }
  if (isAnyTwice) console.log('   (twice: written by the broker that was killed before it could say so, and so kept in the backup too)');
  return isEveryRight;
}

async function showReplayed(server: KafkaServer): Promise<boolean> {
  let isEveryThere = true;
  for (const bucket of BUCKETS) {
    const ids = new Set(allMessages(await readTopic(server.bootstrap, bucket)).map(({ value }) => idOf(value)));
    console.log(`   ${bucket}: ${thousands(ids.size)} of ${thousands(EACH * SENDERS.length)} different messages are in Kafka now`);
    isEveryThere &&= ids.size === EACH * SENDERS.length;
  }
  return isEveryThere;
}

/** Do the messages of each sender stand in a partition in the order in which it sent them? */
function isInOrder(messages: readonly Message[]): boolean {
  return SENDERS.every((sender) => {
    const ids = messages.map(({ value }) => JSON.parse(String(value)) as { sender: string; id: number }).filter((message) => message.sender === sender);
    return ids.every(({ id }, index) => index === 0 || id > ids[index - 1]!.id);
  });
}

function backupFiles(bucket: string): string[] {
  const below = path.join(folder, 'backup', bucket);
  try {
    return readdirSync(below).filter((file) => file.endsWith('.bckstm')).map((file) => path.join(below, file));
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
