// Who sends what is over the limit: it begins when there is something, goes on after failures, and ends when
// it is told.
import { beforeEach, describe, expect, test } from 'vitest';
import { FakeClock, turn } from '../../../support/fakeClock.js';
import { FakeStream } from '../../../support/fakeStream.js';
import { Log } from '../../log/log.js';
import type { BackupReplay } from '../../streams/stream.js';
import { SurplusReplay } from './surplusReplay.js';

class FakeReplay implements BackupReplay {
  leftBytes = 0;
  leftFrames = 0;
  isKnown = true;
  files = 0;
  stops = 0;
  readonly sends: number[] = [];
  problem: string | undefined;

  hold(frames: number): void {
    [this.leftFrames, this.leftBytes, this.files] = [frames, frames * 10, 1];
  }

  async send(enoughBytes: number): Promise<void> {
    this.sends.push(enoughBytes);
    if (this.problem !== undefined) throw new Error(this.problem);
    if (enoughBytes === 0) this.files = 0;
    [this.leftFrames, this.leftBytes] = [0, 0];
  }

  rewinds = 0;

  rewind(): void {
    this.rewinds++;
  }

  async stop(): Promise<void> {
    this.stops++;
  }
}

let clock: FakeClock;
let lines: string[];
let replay: FakeReplay;
let primary: FakeStream;
let surplus: SurplusReplay;

beforeEach(async () => {
  [clock, lines, replay, primary] = [new FakeClock(), [], new FakeReplay(), new FakeStream()];
  const log = new Log('INFO', (line) => lines.push(line));
  surplus = new SurplusReplay({ replay, primary, files: () => replay.files, retryMs: 10_000, clock, log });
  await turn();
});

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    clock.advance(500);
    await turn();
  }
}

describe('SurplusReplay', () => {
  test('does nothing while there is nothing, sends what there is, and then takes the file away', async () => {
    await pass(5_000);
    expect(replay.sends).toEqual([]);
    replay.hold(7);
    await pass(3_000);
    expect(replay.sends).toEqual([1, 0]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(
      '7 frames in the backup are there because of the rate limit, and sent as it leaves room',
    );
    replay.hold(3);
    await pass(3_000);
    expect(replay.sends).toEqual([1, 0, 1, 0]);
    expect(lines).toHaveLength(1);
  });

  test('waits until it is known what there is', async () => {
    replay.isKnown = false;
    replay.hold(7);
    await pass(3_000);
    expect(replay.sends).toEqual([]);
  });

  test('a failure is told once, the primary is asked before the next try, and it goes on', async () => {
    replay.hold(7);
    replay.problem = 'nothing answers';
    await pass(2_000);
    expect(replay.sends).toEqual([1]);
    await pass(10_000);
    expect([replay.sends.length, primary.probes]).toEqual([1, 1]);
    primary.answerProbe('it is away');
    await pass(10_500);
    expect(
      lines.filter((line) =>
        line.includes('is not sent yet: nothing answers; 7 frames are left, tried again every 10000 ms'),
      ),
    ).toHaveLength(1);
    replay.problem = undefined;
    primary.answerProbe();
    await pass(2_500);
    expect(replay.sends).toEqual([1, 1, 0]);
    expect(lines.at(-1)).toContain('what was over the rate limit is being sent again');
    expect(lines.filter((line) => line.includes('WARN'))).toHaveLength(1);
  });

  test('told to stop it ends the replay and its primary, and looks no more', async () => {
    replay.hold(7);
    await surplus.stop();
    await pass(5_000);
    expect([replay.stops, primary.closes, replay.sends, clock.timers]).toEqual([1, [3_000], [], 0]);
  });
});
