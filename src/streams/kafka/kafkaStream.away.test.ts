// A topic of which one partition can't be written: the others get all that is theirs, and its frames come
// back, in order, until it is let in again.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ErrorCode, startFakeCluster, type FakeCluster } from '../../../support/fakeBroker.js';
import {
  KafkaWorkbench,
  endKafka,
  frame,
  numbered,
  type Frame,
  type LibrdkafkaSettings,
  type Outcome,
} from '../../../support/kafkaWorkbench.js';
import type { KafkaStream } from './kafkaStream.js';

let cluster: FakeCluster;
let bench: KafkaWorkbench;

beforeEach(async () => {
  cluster = await startFakeCluster(2, { three: [1, 2, 1] });
  bench = new KafkaWorkbench();
});

afterEach(() => endKafka(bench, cluster));

const BRIEF: LibrdkafkaSettings = { 'message.timeout.ms': 300 };
/** Partitions of `three`: consistent_random puts these keys on 0, 1 and 2. */
const KEYS = ['user-3', 'user-2', 'user-0'];
const keyed = (messages: readonly string[]): Frame[] =>
  messages.map((message, i) => ({ key: KEYS[i % 3]!, message }));
const of = (partition: number, messages: readonly string[]): string[] =>
  messages.filter((_, i) => i % 3 === partition);
const opened = (settings: LibrdkafkaSettings = BRIEF): Promise<KafkaStream> =>
  bench.opened('three', cluster.bootstrap, settings);
const write = (stream: KafkaStream, messages: readonly (string | Frame)[]): Promise<Outcome> =>
  bench.write(stream, 'three', messages);
const texts = (outcome: Outcome): string[] => outcome.undelivered.map(({ message }) => message);

function appended(partition: number): string[] {
  return cluster.appended('three', partition).map(({ value }) => value!.toString());
}

const [FIRST, NEXT, LAST] = [numbered(9, 'first'), numbered(9, 'next'), numbered(9, 'last')] as const;

describe('KafkaStream: one partition is away', () => {
  test.each([
    [
      'it has no leader',
      async () => cluster.moveLeader('three', 1, -1),
      async () => cluster.moveLeader('three', 1, 2),
    ],
    ['its node is gone', () => cluster.takeDown(2), () => cluster.bringUp(2)],
    [
      'it refuses for want of replicas',
      async () =>
        void (cluster.always.Produce = { kind: 'error', code: ErrorCode.notEnoughReplicas, partition: 1 }),
      async () => {
        delete cluster.always.Produce;
      },
    ],
  ] satisfies [string, () => Promise<void>, () => Promise<void>][])(
    '%s: the others get all, its frames are handed back, in order, until it is let in again',
    async (_, goAway, comeBack) => {
      const stream = await opened();
      await write(stream, keyed(numbered(3, 'warm')));
      await goAway();
      // Something is written to the others all the while, as under load.
      const [first, next] = await Promise.all([
        write(stream, keyed(FIRST)),
        new Promise((resolve) => setTimeout(resolve, 20)).then(() => write(stream, keyed(NEXT))),
      ]);
      expect([first, next].map(({ error, settled }) => [error?.code, settled.delivered])).toEqual([
        ['AWAY', 6],
        ['AWAY', 6],
      ]);
      expect([texts(first), texts(next)]).toEqual([of(1, FIRST), of(1, NEXT)]);
      expect(stream.away).toContain('three[1]');

      // Handed back at once from now on.
      const before = cluster.requests.Produce;
      const last = await write(stream, keyed(LAST));
      expect([last.error?.code, texts(last)]).toEqual(['AWAY', of(1, LAST)]);
      expect(cluster.requests.Produce - before).toBeLessThanOrEqual(2);

      await comeBack();
      await expect
        .poll(async () =>
          stream.probe().then(
            () => stream.hasReturned,
            () => false,
          ),
        )
        .toBe(true);
      // Found back, and not let in yet: newer frames must not pass those that came back.
      expect(texts(await write(stream, keyed(numbered(3, 'early'))))).toEqual(['early 1']);
      stream.readmit();
      expect([stream.away, stream.hasReturned]).toEqual([undefined, false]);
      for (const { undelivered } of [first, next, last])
        expect((await write(stream, undelivered)).error).toBeUndefined();
      for (const partition of [0, 1, 2]) {
        const all = [numbered(3, 'warm'), FIRST, NEXT, LAST].flatMap((messages) => of(partition, messages));
        expect(appended(partition).filter((message) => !message.startsWith('early'))).toEqual(all);
      }
    },
  );

  test('frames without a key wait for no partition: those that it was to get go to another', async () => {
    const stream = await opened();
    cluster.moveLeader('three', 1, -1);
    const groups = Array.from({ length: 12 }, (_, i) => numbered(5, `group ${i}`));
    await Promise.all(groups.map((group) => write(stream, group)));
    cluster.moveLeader('three', 1, 2);
    // Its broker says no more: those that were on their way to it are sent to others, once its time is over.
    cluster.always.Produce = { kind: 'error', code: ErrorCode.notLeaderOrFollower, partition: 1 };
    const fresh = await opened({ ...BRIEF, 'topic.metadata.refresh.interval.ms': 10 });
    const outcomes = await Promise.all(
      groups.map((group, i) =>
        write(fresh, [...group.map((message) => `again ${message}`), ...keyed(numbered(3, `keyed ${i}`))]),
      ),
    );
    expect(outcomes.flatMap(texts)).toEqual(groups.map((_, i) => `keyed ${i} 1`));
    const all = [...appended(0), ...appended(2)];
    expect(all.filter((message) => message.startsWith('group')).sort()).toEqual(groups.flat().sort());
    expect(all.filter((message) => message.startsWith('again')).sort()).toEqual(
      groups
        .flat()
        .map((message) => `again ${message}`)
        .sort(),
    );
    expect(appended(1)).toEqual([]);
  });

  test('writes that waited for a leader go on in their order, also behind one that is all for what is away', async () => {
    const stream = await opened();
    cluster.moveLeader('three', 1, -1);
    expect(texts(await write(stream, keyed(FIRST)))).toEqual(of(1, FIRST));
    for (const partition of [0, 2]) cluster.moveLeader('three', partition, -1);
    await expect(stream.probe()).rejects.toThrow('no partition of topic three has a leader');
    const to = (partition: number, message: string): Frame => ({ key: KEYS[partition]!, message });
    const writing = [[to(1, 'away')], [to(0, 'a')], [to(0, 'b')]].map((frames) => write(stream, frames));
    for (const partition of [0, 2]) cluster.moveLeader('three', partition, 1);
    const outcomes = await Promise.all(writing);
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['AWAY', undefined, undefined]);
    expect(appended(0)).toEqual([...of(0, FIRST), 'a', 'b']);
  });

  test('all are away: the stream has failed; a probe finds the one that is back, and goes on with it alone', async () => {
    cluster.setTopic('three', [1, 2, 2]);
    const stream = await opened();
    await write(stream, keyed(numbered(3, 'warm')));
    await Promise.all([cluster.takeDown(1), cluster.takeDown(2)]);
    const failed = await write(stream, keyed(FIRST));
    expect([failed.error?.code, texts(failed)]).toEqual(['UNREACHABLE', FIRST]);
    await expect(stream.probe()).rejects.toThrow(Error);
    await cluster.bringUp(1);
    await expect
      .poll(async () =>
        stream.probe().then(
          () => stream.away,
          (error: unknown) => String(error),
        ),
      )
      .toMatch(/^partitions three\[1, 2\] are away/);
    const again = await write(stream, failed.undelivered);
    expect([again.error?.code, again.settled.delivered]).toEqual(['AWAY', 3]);
    expect(again.undelivered).toEqual(
      keyed(FIRST)
        .map(frame)
        .filter((_, i) => i % 3 > 0),
    );
    await cluster.bringUp(2);
    await expect
      .poll(async () =>
        stream.probe().then(
          () => stream.hasReturned,
          () => false,
        ),
      )
      .toBe(true);
    stream.readmit();
    expect((await write(stream, again.undelivered)).error).toBeUndefined();
    for (const partition of [0, 1, 2])
      expect(appended(partition)).toEqual([...of(partition, numbered(3, 'warm')), ...of(partition, FIRST)]);
  });

  test('closed with frames for it and for others outstanding: what is not delivered comes back in order', async () => {
    const stream = await opened();
    cluster.moveLeader('three', 1, -1);
    expect(texts(await write(stream, keyed(FIRST)))).toEqual(of(1, FIRST));
    cluster.always.Produce = { kind: 'swallow' };
    const writing = write(stream, keyed(NEXT));
    const before = cluster.requests.Produce;
    await expect.poll(() => cluster.requests.Produce).toBeGreaterThan(before);
    await stream.close({ deadlineMs: 10 });
    const { error, undelivered } = await writing;
    expect([error?.code, undelivered]).toEqual(['CLOSED', keyed(NEXT)]);
  });
});
