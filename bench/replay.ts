// How fast what lies in a backup goes to Kafka once it is there again: alone, and while as steadily as ever
// new frames come in.
import { readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { startProxy, type TcpProxy } from '../support/tcpProxy.js';
import { monotonicMs } from './clock.js';
import { makeDiskFolder } from './diskFolder.js';
import { kaheToKafka, startKahe } from './kahe.js';
import { type Load, type Receiver, Senders } from './load.js';
import { inFolder, measure, type Run } from './measure.js';
import { PacedLoad, type PacedSent } from './pacedLoad.js';
import type { Payload } from './payload.js';
import { cpuSeconds } from './processFigures.js';
import type { Topic, Topics } from './topics.js';

export interface Replayed {
  /** Wanted of the frames that came in meanwhile; 0: none came. */
  readonly incomingPerSecond: number;
  /** … and truly written. */
  readonly cameInPerSecond: number;
  /** Sent from the backup: those that lay in it, and those that joined its end meanwhile. */
  readonly frames: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

export interface ReplayFigures {
  readonly replays: readonly Replayed[];
  /** The same frames sent while Kafka is there. */
  readonly live: Run;
}

export const INCOMING_PER_SECOND = 50_000;
const PARTITIONS = 4;
const CLIENTS = 4;
const LETTERS: Payload = { kind: 'letters', bytes: 100 };
/** The primary is tried every 10 s. */
const BACK_DEADLINE_MS = 20_000;
const END_DEADLINE_MS = 90_000;

/** @throws when what arrived is not what was sent */
export async function measureReplay(topics: Topics, frames: number, kafka: number): Promise<ReplayFigures> {
  const load: Load = { clients: CLIENTS, senders: 1, framesPerWrite: 50, frames, payload: LETTERS };
  const live = await measure(kaheToKafka(topics, 'none', PARTITIONS), load, kafka);
  if (live.invalid !== undefined) throw new Error(`live: ${live.invalid}`);
  const replays = [await measureOne(topics, load, 0), await measureOne(topics, load, INCOMING_PER_SECOND)];
  return { replays, live };
}

async function measureOne(topics: Topics, load: Load, incomingPerSecond: number): Promise<Replayed> {
  const topic = await topics.make(PARTITIONS);
  const away = await startProxy({ target: { port: Number(topics.bootstrap.split(':')[1]) } });
  away.faults.refuse = true;
  const backup = makeDiskFolder('backup');
  const replayed = await inFolder((folder) =>
    fillAndReplay({ folder, topic, away, backup, load, incomingPerSecond }),
  );
  rmSync(backup, { recursive: true });
  await away.close();
  return replayed;
}

interface Outage {
  readonly folder: string;
  readonly topic: Topic;
  /** In front of Kafka until the daemon knows its real address. */
  readonly away: TcpProxy;
  readonly backup: string;
  readonly load: Load;
  readonly incomingPerSecond: number;
}

async function fillAndReplay({
  folder,
  topic,
  away,
  backup,
  load,
  incomingPerSecond,
}: Outage): Promise<Replayed> {
  const settings = {
    'bootstrap.servers': away.address,
    acks: 'all',
    'compression.codec': 'none',
    'message.timeout.ms': 500,
  };
  const kahe = await startKahe(folder, topic.name, {
    type: 'kafka',
    settings,
    backup: { type: 'file', settings: { path: backup, fileNameTemplate: '{bucket}.{ts}.bckstm' } },
  });
  const filled = await fill(load, kahe.receiver);
  const bytesEach = backupFiles(backup).reduce((sum, file) => sum + statSync(file).size, 0) / filled;
  const incoming =
    incomingPerSecond === 0
      ? undefined
      : await PacedLoad.connect(
          { clients: CLIENTS, framesPerSecond: incomingPerSecond, payload: LETTERS },
          kahe.receiver,
        );

  away.faults.refuse = false;
  await kahe.untilLog(/the primary is back: .*\d+ frames of the backup/, BACK_DEADLINE_MS);
  const [startMs, cpuBefore] = [monotonicMs(), cpuSeconds(kahe.pid)];
  incoming?.start();
  await kahe.untilLog(
    /switched to normal: the primary is back, and has had what was backed up/,
    END_DEADLINE_MS,
  );
  const [seconds, cpu, left] = [
    (monotonicMs() - startMs) / 1000,
    cpuSeconds(kahe.pid) - cpuBefore,
    backupFiles(backup),
  ];
  // Whatever is in Kafka now came from the backup.
  const frames = await topic.count();
  if (left.length > 0) throw new Error(`after the replay there is still ${left.join(', ')}`);

  const cameIn = await incoming?.stop();
  await incoming?.close();
  await kahe.stop();
  await expectArrived(topic, filled, cameIn);
  return {
    incomingPerSecond,
    cameInPerSecond: cameIn?.framesPerSecond ?? 0,
    frames,
    bytes: frames * bytesEach,
    seconds,
    cpuSeconds: cpu,
  };
}

/** @returns how many frames are in the backup now */
async function fill(load: Load, receiver: Receiver): Promise<number> {
  const senders = await Senders.connect(load, receiver);
  const { frames, wrongAnswers } = await senders.send();
  await senders.close();
  if (wrongAnswers.length > 0) throw new Error(wrongAnswers.join('; '));
  return frames;
}

function backupFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.bckstm'))
    .map((name) => path.join(folder, name));
}

async function expectArrived(topic: Topic, filled: number, cameIn: PacedSent | undefined): Promise<void> {
  const [sent, arrived] = [filled + (cameIn?.frames ?? 0), await topic.remove()];
  if (arrived !== sent) throw new Error(`${sent} frames sent, ${arrived} arrived`);
}
