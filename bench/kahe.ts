// Kahe as built in dist/, to Kafka or to files, with the configuration that every figure is for.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeDiskFolder } from './diskFolder.js';
import { Scraper } from './scraper.js';
import { ServerProcess, type System } from './system.js';
import type { Topics } from './topics.js';

const MAIN = path.resolve(import.meta.dirname, '../dist/main.js');
const ENVIRONMENT = ['MAXMEMORY=64MB', 'MAXCPUS=2', 'LOG_LEVEL=INFO', 'LOG_FORMAT=text'];
const BUCKET = { batch: 10_000, batchTimeout: 500 };
const PARTITIONS = 4;
const FILE_BUCKET = 'kh_bench_000';
/**
 * KAHE_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=DIR" shows where the time goes; figures taken with it are too
 * high.
 */
const NODE_OPTIONS = (process.env['KAHE_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');

/** As the result page shows it. */
export const KAHE_SETTINGS = `${ENVIRONMENT.slice(0, 2).join(' ')}, batch ${BUCKET.batch}, batchTimeout ${BUCKET.batchTimeout}, acks=all`;

export type SpoolSync = 'never' | 'batch' | 'always';

export function isBuilt(): boolean {
  return existsSync(MAIN);
}

export function kaheToKafka(
  topics: Topics,
  compression: 'none' | 'snappy',
  partitions: number,
  batch = BUCKET.batch,
): System {
  return {
    name: `Kahe, ${compression}${partitions === 1 ? ', 1 partition' : ''}`,
    async start(folder) {
      const topic = await topics.make(partitions);
      const settings = {
        'bootstrap.servers': topics.bootstrap,
        acks: 'all',
        'compression.codec': compression,
      };
      const server = await startKahe(folder, topic.name, { type: 'kafka', settings }, [], batch);
      return { ...server, countArrived: () => topic.remove() };
    },
  };
}

/** With ADMIN on, and scraped as Prometheus does it, only more often. */
export function kaheWatched(topics: Topics): System {
  return {
    name: 'Kahe, none, ADMIN',
    async start(folder) {
      const topic = await topics.make(PARTITIONS);
      const door = path.join(folder, 'admin.sock');
      const settings = { 'bootstrap.servers': topics.bootstrap, acks: 'all', 'compression.codec': 'none' };
      const server = await startKahe(folder, topic.name, { type: 'kafka', settings }, [`ADMIN=${door}`]);
      const scraper = new Scraper(door);
      return {
        ...server,
        countArrived: () => topic.remove(),
        stop: async () => {
          scraper.stop();
          await server.stop();
        },
      };
    },
  };
}

/**
 * Feeding it ends when all is in the topic, so that the delivery counts too: the receipt of a spool comes
 * before.
 */
export function kaheToTopic(topics: Topics, spoolSync?: SpoolSync): System {
  return {
    name: spoolSync === undefined ? 'Kahe, none' : 'Kahe, none, spool',
    async start(folder) {
      const topic = await topics.make(PARTITIONS);
      const spool = spoolSync && { sync: spoolSync, folder: makeDiskFolder('spool') };
      const settings = { 'bootstrap.servers': topics.bootstrap, acks: 'all', 'compression.codec': 'none' };
      const server = await startKahe(
        folder,
        topic.name,
        { type: 'kafka', settings },
        spool ? [`SPOOL=${spool.folder}`, `SPOOL_SYNC=${spool.sync}`] : [],
      );
      return {
        ...server,
        untilArrived: (frames) => topic.untilHas(frames),
        countArrived: () => topic.remove(),
        stop: async () => {
          await server.stop();
          if (spool) rmSync(spool.folder, { recursive: true });
        },
      };
    },
  };
}

export const kaheToFiles: System = {
  name: 'Kahe, files',
  async start(folder) {
    const files = path.join(folder, 'files');
    const server = await startKahe(folder, FILE_BUCKET, {
      type: 'file',
      settings: { path: files, fileNameTemplate: '{bucket}.{ts}.bckstm' },
    });
    return { ...server, countArrived: () => Promise.resolve(countFrames(files)) };
  },
};

/** @param environment lines of it, besides those that every figure is for */
export async function startKahe(
  folder: string,
  bucket: string,
  stream: object,
  environment: readonly string[] = [],
  batch = BUCKET.batch,
) {
  const socketPath = path.join(folder, 'kahe.sock');
  writeFileSync(
    path.join(folder, '.env.dev.local'),
    [...ENVIRONMENT, ...environment, `SOCKET=${socketPath}`, ''].join('\n'),
  );
  writeFileSync(
    path.join(folder, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: { out: stream },
      buckets: [{ id: bucket, streams: ['out'], ...BUCKET, batch }],
    }),
  );
  const server = await ServerProcess.start([process.execPath, ...NODE_OPTIONS, MAIN], folder, socketPath);
  return {
    pid: server.pid,
    receiver: { path: socketPath, wire: { frame: { bucket } }, finish: 'receipt' as const },
    untilLog: (pattern: RegExp, deadlineMs: number) => server.untilLog(pattern, deadlineMs),
    stop: () => server.stop(),
  };
}

/** Whole frames in all files of a folder. */
function countFrames(folder: string): number {
  let frames = 0;
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.bckstm'))) {
    const bytes = readFileSync(path.join(folder, name));
    let at = 0;
    for (; at + 4 <= bytes.length; at += 4 + bytes.readUInt32LE(at)) frames++;
    if (at !== bytes.length) throw new Error(`${name} ends in the middle of a frame`);
  }
  return frames;
}
