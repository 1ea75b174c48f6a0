// SIGHUP after SIGHUP: which file is taken on, when, and what is said of those that can't be.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { turn } from '../../support/fakeClock.js';
import { newFolder } from '../../support/newFolder.js';
import { type BucketsConfig, loadBuckets } from '../config/buckets.js';
import { loadEnvironment } from '../config/env.js';
import { Log } from '../log/log.js';
import { Reloads } from './reload.js';

let folder: string;
beforeEach(() => {
  folder = newFolder();
  writeFileSync(join(folder, '.env.dev.local'), '');
});

function write(batch: unknown): void {
  writeFileSync(
    join(folder, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: { files: { type: 'file', settings: { path: 'data' } } },
      buckets: [{ id: 'orders', streams: ['files'], batch }],
    }),
  );
}

class Bench {
  readonly lines: string[] = [];
  /** `batch` of each configuration that was taken on. */
  readonly taken: number[] = [];
  readonly around: string[] = [];
  nowMs = 1_000;
  /** Each taking on waits until the test lets it go. */
  waiting: (() => void)[] = [];
  fault: Error | undefined;
  readonly reloads: Reloads;

  constructor() {
    write(1);
    const source = { cwd: folder, env: {} };
    const environment = loadEnvironment(source);
    this.reloads = new Reloads({
      environment,
      buckets: loadBuckets(environment.bucketsFile, source),
      source,
      log: new Log('INFO', (line) => this.lines.push(line.replace(/ \| .* \| /, ' | ').trim())),
      now: () => this.nowMs,
      onBegin: () => this.around.push('begin'),
      onEnd: () => this.around.push('end'),
    });
  }

  take = async ({ buckets }: BucketsConfig): Promise<void> => {
    await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.fault !== undefined) throw this.fault;
    this.taken.push(buckets[0]!.batchFrames);
  };

  async go(): Promise<void> {
    this.waiting.shift()?.();
    await turn();
  }

  static started(): Bench {
    const bench = new Bench();
    bench.reloads.begin(bench.take);
    return bench;
  }
}

describe('Reloads', () => {
  test('asked for while one is going on: one more, with the latest file', async () => {
    const bench = Bench.started();
    write(2);
    bench.reloads.ask();
    for (const batch of [3, 4, 5]) {
      write(batch);
      bench.reloads.ask();
    }
    expect(bench.waiting).toHaveLength(1);
    await bench.go();
    await bench.go();
    expect(bench.taken).toEqual([2, 5]);
    expect(bench.around).toEqual(['begin', 'end']);
    expect(bench.lines).toEqual(
      [1, 2].map(
        () => `INFO | SIGHUP: ${join(folder, 'buckets.json')} is in force: changed buckets.orders (batch)`,
      ),
    );
    expect(bench.reloads.figures).toMatchObject({ successes: 2, failures: 0 });
  });

  test('before the daemon is there: kept until it is', async () => {
    const bench = new Bench();
    write(2);
    bench.reloads.ask();
    await turn();
    expect([bench.around, bench.waiting]).toEqual([[], []]);
    bench.reloads.begin(bench.take);
    await bench.go();
    expect(bench.taken).toEqual([2]);
  });

  test('while it is being stopped: passed over, and one that is going on has no end to tell', async () => {
    const bench = Bench.started();
    write(2);
    bench.reloads.ask();
    bench.reloads.ask();
    bench.reloads.close();
    await bench.go();
    expect([bench.taken, bench.around, bench.waiting]).toEqual([[2], ['begin'], []]);
    bench.reloads.ask();
    await turn();
    expect(bench.lines.at(-1)).toBe('INFO | SIGHUP: ignored, because the daemon is stopping');
    expect(bench.taken).toEqual([2]);
  });

  test("a file that can't be used: every mistake has its line, and the figures know until the next success", async () => {
    const bench = Bench.started();
    bench.nowMs = 2_000;
    writeFileSync(join(folder, 'buckets.json'), '{ streamsConfigs: {}, buckets: [] }');
    bench.reloads.ask();
    await turn();
    const file = join(folder, 'buckets.json');
    expect(bench.lines).toEqual([
      expect.stringMatching(`^ERROR \\| SIGHUP: ${file}: streamsConfigs: is empty`) as string,
      expect.stringMatching(`^ERROR \\| SIGHUP: ${file}: buckets: is empty`) as string,
      expect.stringMatching(/^ERROR \| SIGHUP: nothing was changed, the old configuration goes on/) as string,
    ]);
    expect([bench.taken, bench.around]).toEqual([[], ['begin', 'end']]);
    expect(bench.reloads.figures).toMatchObject({
      successes: 0,
      failures: 1,
      wasLastSuccessful: false,
      lastSuccessMs: 1_000,
      problem: expect.stringContaining('is empty') as string,
    });
    write(2);
    bench.reloads.ask();
    await bench.go();
    expect(bench.reloads.figures).toEqual({
      successes: 1,
      failures: 1,
      wasLastSuccessful: true,
      lastSuccessMs: 2_000,
    });
  });

  test('a fault of our own is told as one, and the next reload is as good as any', async () => {
    const bench = Bench.started();
    bench.fault = new Error('oh');
    bench.reloads.ask();
    await bench.go();
    expect(bench.lines[0]).toMatch(/^ERROR \| SIGHUP: this is a bug in Kahe, please report it: Error: oh/);
    bench.fault = undefined;
    bench.reloads.ask();
    await bench.go();
    expect(bench.taken).toEqual([1]);
  });
});
