// What the daemon costs at most: memory while nothing can be delivered, and memory and CPU for clients that
// say nothing.
import { describe, expect, inject, test } from 'vitest';
import {
  numberedFrames,
  numbersBySender,
  range,
  startDaemon,
  type DaemonClient,
  type TestDaemon,
} from '../../support/daemon.js';
import { fileStream, kafkaStream, newTopic } from '../../support/daemonBuckets.js';
import { standstill } from '../../support/daemonStates.js';
import { startShutKafka } from '../../support/daemonKafka.js';
import { holdIdleClients, mostOpenFiles } from '../../support/daemonIdleClients.js';
import { allMessages, readTopic } from '../../support/kafkaReader.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;
const KB = 1024;

const TO_FILES = {
  streamsConfigs: { files: fileStream('data') },
  buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 50 }],
};

describe('memory', () => {
  test('MAXMEMORY=32MB, Kafka away: writers wait, the process stays small, and Kafka gets everything', async () => {
    const perWriter = 25_000;
    const topic = await newTopic(bootstrap, 'bounded', 3);
    const kafka = await startShutKafka();
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(kafka.address, { 'message.timeout.ms': 2000 }) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 50 }],
      },
      env: { MAXMEMORY: '32MB' },
    });
    const writers = await Promise.all(
      range(0, 4).map(async (index) => new SteadyWriter(await daemon.connect(), topic, `w${index}`)),
    );
    const writing = writers.map((writer) => writer.write(perWriter));
    await daemon.line(/WARN .* memory is full .*clients wait/);
    await daemon.line(/delivery stopped/);
    await standstill(daemon, () => writers.reduce((sum, { takenBytes }) => sum + takenBytes, 0));
    // What the daemon holds, and what the kernel does for four sockets.
    const taken = writers.reduce((sum, { takenBytes }) => sum + takenBytes, 0);
    expect(taken).toBeGreaterThan(10 * MB);
    expect(taken).toBeLessThan(36 * MB);
    // Whoever connects now waits too, and is not turned away.
    const late = await daemon.connect();
    const lateWriting = late.send(numberedFrames(topic, 'late', { count: 10 }));

    kafka.heal();
    await Promise.all([...writing, lateWriting]);
    for (const { client } of writers) expect(await client.receipt()).toBe(perWriter);
    expect(await late.receipt()).toBe(10);
    const peak = daemon.peakRssBytes;
    note('peak memory with MAXMEMORY=32MB and 100 MB written', `${Math.round(peak / MB)} MB`);
    expect(peak).toBeLessThan(220 * MB);
    const partitions = await readTopic(bootstrap, topic);
    for (const messages of partitions.values()) {
      for (const numbers of numbersBySender(messages.map(({ value }) => value!.toString())).values())
        expect(isAscending(numbers)).toBe(true);
    }
    const found = numbersBySender(allMessages(partitions).map(({ value }) => value!.toString()));
    for (const [sender, numbers] of found)
      expect(
        numbers.sort((a, b) => a - b),
        sender,
      ).toEqual(range(0, sender === 'late' ? 10 : perWriter));
    expect(found.size).toBe(5);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(daemon.linesLike(/ switched to | delivery stopped/)).toHaveLength(2);
  });

  test('a bucket that can not deliver does not keep the answers of the others back', async () => {
    const topic = await newTopic(bootstrap, 'stuck');
    const kafka = await startShutKafka();
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(kafka.address), ...TO_FILES.streamsConfigs },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 50 }, ...TO_FILES.buckets],
      },
    });
    const [stuck, free] = [await daemon.connect(), await daemon.connect()];
    await stuck.send(numberedFrames(topic, 's', { count: 1000 }));
    const answer = stuck.receipt();
    for (const round of range(0, 5)) {
      await free.send(numberedFrames('orders', 'f', { from: round * 100, count: 100 }));
      expect(await free.receipt()).toBe((round + 1) * 100);
    }
    expect(stuck.answersWaiting).toBe(0);
    kafka.heal();
    expect(await answer).toBe(1000);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

describe('many clients', () => {
  test('10,000 idle connections: at most 20 KiB each, others are served, the end does not wait', async () => {
    const limit = mostOpenFiles();
    const count = Math.min(10_000, limit - 500);
    expect(
      count,
      'the limit of open files is too low for this test: raise it (ulimit -Hn)',
    ).toBeGreaterThanOrEqual(1000);
    const daemon = await startDaemon({ buckets: TO_FILES, openFiles: limit });
    await exchange(daemon, 'warm', 2000);
    const [rssBefore, filesBefore] = [daemon.rssBytes, daemon.openFiles];
    const letGo = await holdIdleClients(daemon.socketPath, count);
    // It was accepted behind them all.
    await exchange(daemon, 'behind', 100);
    expect(daemon.openFiles).toBeGreaterThanOrEqual(filesBefore + count - 5);
    const perConnection = (daemon.rssBytes - rssBefore) / count;
    note(`memory of an idle connection, of ${count}`, `${(perConnection / KB).toFixed(1)} KiB`);
    expect(perConnection).toBeLessThan(20 * KB);

    await Promise.all(range(0, 10).map((index) => exchange(daemon, `busy${index}`, 2000)));
    const cpu = await cpuShare(daemon, 2000);
    note('CPU with them, idle', percent(cpu));
    expect(cpu).toBeLessThan(0.05);

    await letGo();
    await daemon.until('as few open files as before', () => daemon.openFiles <= filesBefore + 5);
    await holdIdleClients(daemon.socketPath, count);
    await exchange(daemon, 'again', 100);
    const { code, ms } = await daemon.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(6000);
    expect(daemon.received).toEqual({ frames: 2000 + 100 + 20_000 + 100, bad: 0 });
  });

  test('connect, one frame, close, three thousand times: all arrive, and nothing is left open', async () => {
    const daemon = await startDaemon({ buckets: TO_FILES });
    await exchange(daemon, 'warm', 1);
    const before = daemon.openFiles;
    await Promise.all(
      range(0, 10).map(async (lane) => {
        for (const number of range(0, 300)) {
          const client = await daemon.connect();
          await client.send(numberedFrames('orders', `lane${lane}`, { from: number, count: 1 }));
          client.destroy();
        }
      }),
    );
    await daemon.until('as few open files as before', () => daemon.openFiles <= before + 1);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    const found = numbersBySender((await daemon.files('data')).map(({ message }) => message));
    expect(found).toEqual(
      new Map([
        ['warm', [0]],
        ...range(0, 10).map((lane): [string, number[]] => [`lane${lane}`, expect.anything() as number[]]),
      ]),
    );
    for (const lane of range(0, 10))
      expect(found.get(`lane${lane}`)!.sort((a, b) => a - b)).toEqual(range(0, 300));
  });
});

describe('CPU', () => {
  test('with nothing to do and a Kafka connection open it is next to nothing', async () => {
    const topic = await newTopic(bootstrap, 'idle');
    const daemon = await startDaemon({
      buckets: {
        streamsConfigs: { kafka: kafkaStream(bootstrap) },
        buckets: [{ id: topic, streams: ['kafka'], batchTimeout: 20 }],
      },
    });
    const client = await daemon.connect();
    await client.send(numberedFrames(topic, 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    const cpu = await cpuShare(daemon, 3000);
    note('CPU when idle', percent(cpu));
    // kafkajs left alone polls, at 4 % (T7).
    expect(cpu).toBeLessThan(0.02);
    await client.send(numberedFrames(topic, 'c', { from: 10, count: 10 }));
    expect(await client.receipt()).toBe(20);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

/** Writes frames of 1 KiB, some at a time, each time when the kernel has taken the last. */
class SteadyWriter {
  takenBytes = 0;

  constructor(
    readonly client: DaemonClient,
    readonly bucket: string,
    readonly name: string,
  ) {}

  async write(frames: number): Promise<void> {
    for (let from = 0; from < frames; from += 100) {
      const bytes = numberedFrames(this.bucket, this.name, { from, count: 100, bytes: KB });
      await this.client.send(bytes);
      this.takenBytes += bytes.length;
    }
  }
}

/** One client that writes, and learns that it is safe. */
async function exchange(daemon: TestDaemon, sender: string, count: number): Promise<void> {
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', sender, { count }));
  expect(await client.receipt()).toBe(count);
  await client.close();
}

/** The share of one core that it uses over so long. */
async function cpuShare(daemon: TestDaemon, ms: number): Promise<number> {
  const [cpu, start] = [daemon.cpuSeconds, performance.now()];
  await new Promise((resolve) => setTimeout(resolve, ms));
  return (1000 * (daemon.cpuSeconds - cpu)) / (performance.now() - start);
}

function isAscending(numbers: readonly number[]): boolean {
  return numbers.every((number, index) => index === 0 || number > numbers[index - 1]!);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function note(what: string, figure: string): void {
  console.log(`${what}: ${figure}`);
}
