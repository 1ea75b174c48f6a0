// Rejected frames are kept in REJECTED and nowhere else: it is full, or `kahe replay` moves what it holds,
// and who does the moving is killed. What a receipt confirmed, and what was once in a file, is delivered or
// in a file.
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { runCli, startCli } from '../../support/cliProcess.js';
import { daemonFolder, range, startDaemon, type Frame, type TestDaemon } from '../../support/daemon.js';
import { kafkaStream, newTopic, newTopicName } from '../../support/daemonBuckets.js';
import { segments, untilSpoolEmpty } from '../../support/daemonStates.js';
import { createTopic } from '../../support/kafkaTopics.js';
import { findInFiles, judge, sized, Workload } from './oracle.js';
import { WINDOW, note, randomOf, record } from './senders.js';

const { bootstrap } = inject('kafka');
const BATCH = 20;
const LARGE_BYTES = 20_000;
const isLarge = ({ message }: Frame): boolean => message.length === LARGE_BYTES;
/** One frame of so many is larger than the topic takes. */
const LARGE_EVERY = 40;
const bytes = (number: number): number => (number % LARGE_EVERY === 7 ? LARGE_BYTES : 300);

async function smallTopic(): Promise<string> {
  const topic = newTopicName('rejects');
  await createTopic([bootstrap], topic, { partitions: 1, config: { 'max.message.bytes': '16384' } });
  return topic;
}

function bucketsTo(...buckets: readonly (object & { readonly id: string })[]): object {
  return {
    streamsConfigs: { kafka: kafkaStream(bootstrap) },
    buckets: buckets.map((bucket) => ({ streams: ['kafka'], batch: BATCH, batchTimeout: 20, ...bucket })),
  };
}

/** As an operator makes room. */
function moveAway(folder: string): void {
  mkdirSync(path.join(folder, 'moved'), { recursive: true });
  for (const name of readdirSync(path.join(folder, 'rejected')))
    renameSync(path.join(folder, 'rejected', name), path.join(folder, 'moved', name));
}

/** The cause, its setting, the frames, and which must be rejected: undefined, where the clock says it. */
const CAUSES = [
  ['too large', {}, bytes, isLarge],
  ['over a rate limit', { rateLimit: { frames: 100, perMs: 1000 } }, () => 300, () => undefined],
] as const;

describe.each(sized(['spool'], ['spool', 'no spool, no backup']))('REJECTED is full, %s', (arrangement) => {
  test.each(CAUSES)(
    'of frames %s, and the daemon killed there: others go on, and with room so does all',
    async (cause, setting, bytesOf, mustBeRejected) => {
      const [topic, others] = [await smallTopic(), await newTopic(bootstrap, 'others')];
      const env = { REJECTED_MAX: '300KB', ...(arrangement === 'spool' ? { SPOOL: './spool' } : {}) };
      const options = {
        buckets: bucketsTo({ id: topic, ...setting }, { id: others }),
        env,
        folder: await daemonFolder(),
      };
      const bringing = new Workload({ buckets: [topic], clients: 2, bytes: bytesOf }, 'bringing');
      const good = new Workload({ buckets: [others], clients: 2 }, 'good');
      const lives: TestDaemon[] = [];
      const kills = sized(1, 10);
      for (const life of range(0, kills + 1)) {
        const daemon = await startDaemon(options);
        lives.push(daemon);
        await Promise.all([bringing.start(daemon), good.start(daemon)]);
        await daemon.line(/rejected frames can't be kept/);
        await good.sends(daemon, 200);
        await good.confirmed(daemon);
        if (life < kills) await daemon.kill9();
      }
      const last = lives.pop()!;
      let isOver = false;
      const ended = Promise.all([bringing.end(), good.end()]).then(() => (isOver = true));
      let movedMs = 0;
      await last.until(
        'a receipt for all, and an empty spool',
        async () => {
          // No faster than the daemon looks.
          if (Date.now() - movedMs > 500) {
            moveAway(options.folder);
            movedMs = Date.now();
          }
          return isOver && (await segments(last)).length === 0;
        },
        120_000,
      );
      await ended;
      expect(await last.stop()).toMatchObject({ code: 0 });
      const verdict = await judge({
        workloads: [bringing, good],
        daemon: last,
        earlier: lives,
        topics: [topic, others],
        bootstrap,
        mustBeRejected,
        moreFound: await findInFiles('rejected', path.join(options.folder, 'moved')),
        duplicatesAtMost: kills * 2 * WINDOW * BATCH,
      });
      expect(verdict.problems).toEqual([]);
      const { sent, duplicated } = verdict;
      record(`REJECTED is full of frames ${cause}, and the daemon killed there`, arrangement, {
        runs: kills,
        sent,
        duplicated,
      });
      note(`REJECTED full, ${cause}, ${arrangement}`, {
        kills,
        sent,
        rejected: verdict.buckets.get(topic)!.rejected.distinct,
        'came twice': duplicated,
      });
    },
    240_000,
  );
});

describe('kahe replay --remove rejected', () => {
  const [FRAMES_EACH, ROUNDS, RATE] = sized([4_000, 4, '20k'], [15_000, 20, '20k']);
  /** What is on its way, of a replay that is killed. */
  const FLIGHT = 10_000;

  test.each(range(0, sized(1, 3)).map((i) => 20_330 + 7 * i))(
    'refused in part again, command and daemon killed: each frame is delivered or in a file (seed %i)',
    async (seed) => {
      const random = randomOf(seed);
      const topic = await smallTopic();
      const [folder, env] = [await daemonFolder(), { SPOOL: './spool' }];
      // Its bucket is forgotten at first, so all is rejected.
      const first = await startDaemon({ buckets: bucketsTo({ id: 'another' }), env, folder });
      const workload = new Workload({
        buckets: [topic],
        clients: 2,
        bytes,
        perSecond: undefined,
        framesEach: FRAMES_EACH,
      });
      await workload.start(first);
      await workload.sends(first, 2 * FRAMES_EACH);
      await workload.end();
      expect(await first.stop()).toMatchObject({ code: 0 });

      const options = { buckets: bucketsTo({ id: topic }), env, folder };
      const lives = [first];
      let daemon = await startDaemon(options);
      const command = { cwd: folder, env: { ...env, SOCKET: daemon.socketPath } };
      const restart = async (): Promise<void> => {
        await daemon.kill9();
        lives.push(daemon);
        daemon = await startDaemon(options);
      };
      for (const round of range(0, ROUNDS)) {
        const cli = await startCli(['replay', '--remove', '--rate', RATE, 'rejected'], command);
        let isOver = false;
        void cli.exited.then(() => (isOver = true));
        await daemon.until(
          'a replay under way',
          () =>
            isOver ||
            readdirSync(path.join(folder, 'rejected')).some((name) => name.endsWith('.replay.json')),
        );
        await pause(random(300));
        // In turn the one, the other, both at once.
        if (round % 3 === 1) await restart().then(() => pause(random(500)));
        cli.signal('SIGKILL');
        if (round % 3 === 2) await restart();
        await cli.exited;
      }
      expect(await runCli(['replay', '--remove', 'rejected'], command)).toMatchObject({
        code: 1,
        out: expect.stringMatching(/rejected again \(.*MESSAGE_TOO_LARGE/) as string,
      });
      await untilSpoolEmpty(daemon);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
      const verdict = await judge({
        workloads: [workload],
        daemon,
        earlier: lives,
        topics: [topic],
        bootstrap,
        mustBeRejected: isLarge,
        duplicatesAtMost: ROUNDS * FLIGHT,
        // What is refused again is kept behind what waits for its turn in other files; it has no keys.
        keylessDisorderedAtMost: (2 * FRAMES_EACH) / LARGE_EVERY,
      });
      expect(verdict.problems).toEqual([]);
      const { sent, duplicated } = verdict;
      record('kahe replay --remove rejected, what is refused again, command and daemon killed', 'spool', {
        runs: ROUNDS,
        sent,
        duplicated,
      });
      note(`replay of rejected frames, seed ${seed}`, { rounds: ROUNDS, sent, 'came twice': duplicated });
    },
    240_000,
  );
});
