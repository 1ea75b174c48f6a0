// Kahe as built in dist/, to Kafka or to files, with the configuration that every figure is for.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ServerProcess, type System } from './system.js';
import type { Topics } from './topics.js';

const MAIN = path.resolve(import.meta.dirname, '../dist/main.js');
const ENVIRONMENT = ['MAXMEMORY=64MB', 'MAXCPUS=2', 'LOG_LEVEL=INFO'];
const BUCKET = { batch: 10_000, batchTimeout: 500 };
const FILE_BUCKET = 'kh_bench_000';
/** KAHE_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=DIR" shows where the time goes; figures taken with it are too high. */
const NODE_OPTIONS = (process.env['KAHE_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');

/** As the result page shows it. */
export const KAHE_SETTINGS = `${ENVIRONMENT.slice(0, 2).join(' ')}, batch ${BUCKET.batch}, batchTimeout ${BUCKET.batchTimeout}, acks=all`;

export function isBuilt(): boolean {
  return existsSync(MAIN);
}

export function kaheToKafka(topics: Topics, compression: 'none' | 'snappy', partitions: number): System {
  return {
    name: `Kahe, ${compression}${partitions === 1 ? ', 1 partition' : ''}`,
    async start(folder) {
      const topic = await topics.make(partitions);
      const settings = { 'bootstrap.servers': topics.bootstrap, acks: 'all', 'compression.codec': compression };
      const server = await startKahe(folder, topic.name, { type: 'kafka', settings });
      return { ...server, countArrived: () => topic.remove() };
    },
  };
}

export const kaheToFiles: System = {
  name: 'Kahe, files',
  async start(folder) {
    const files = path.join(folder, 'files');
    const server = await startKahe(folder, FILE_BUCKET, { type: 'file', settings: { path: files, fileNameTemplate: '{bucket}.{ts}.bckstm' } });
    return { ...server, countArrived: () => Promise.resolve(countFrames(files)) };
  },
};

async function startKahe(folder: string, bucket: string, stream: object) {
  const socketPath = path.join(folder, 'kahe.sock');
  writeFileSync(path.join(folder, '.env.dev.local'), [...ENVIRONMENT, `SOCKET=${socketPath}`, ''].join('\n'));
  writeFileSync(path.join(folder, 'buckets.json'), JSON.stringify({ streamsConfigs: { out: stream }, buckets: [{ id: bucket, streams: ['out'], ...BUCKET }] }));
  const server = await ServerProcess.start([process.execPath, ...NODE_OPTIONS, MAIN], folder, socketPath);
  return {
    pid: server.pid,
    receiver: { path: socketPath, wire: { frame: { bucket } }, finish: 'receipt' as const },
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
