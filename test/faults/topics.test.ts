// Topics that are missing, go away or come back smaller, and messages that no topic takes: only their own
// bucket suffers.
import { describe, expect, inject, test } from 'vitest';
import { newTopic, newTopicName } from '../../support/daemonBuckets.js';
import { createTopic, deleteTopic } from '../../support/kafkaTopics.js';
import { findInKafka, readRejections, sized, type FoundList } from './oracle.js';
import { PARTITIONS, Stage, arrangements, type Arrangement } from './stage.js';

const { bootstrap } = inject('kafka');
const MB = 1024 ** 2;

/** Sent and gone with the topic: what a sender had sent when the deletion was known everywhere. */
function sentSoFar(stage: Stage): (sender: string, number: number) => boolean {
  const begun = new Map(stage.workload.senders.map((sender) => [sender.name, sender.begun]));
  return (sender, number) => number < (begun.get(sender) ?? 0);
}

async function others(about: string): Promise<string[]> {
  return [
    await newTopic(bootstrap, `${about}-a`, PARTITIONS),
    await newTopic(bootstrap, `${about}-b`, PARTITIONS),
  ];
}

/** Deletes the bad topic under load, and makes it again with so many partitions. */
async function deleteAndMake(fault: string, arrangement: Arrangement, partitions: number): Promise<void> {
  const good = await others('stays');
  const bad = await newTopic(bootstrap, 'goes', PARTITIONS);
  const stage = await Stage.underLoad({ fault, arrangement, bootstrap, topics: [...good, bad] });
  const before: FoundList[] = await findInKafka(bootstrap, [bad]);
  await deleteTopic([bootstrap], bad);
  const wasSent = sentSoFar(stage);
  await stage.fails([bad]);
  await stage.delivers(good);
  expect(stage.daemon.linesLike(new RegExp(`(${good.join('|')})/.* (switched to|delivery stopped)`))).toEqual(
    [],
  );
  await createTopic([bootstrap], bad, { partitions });
  if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
  const verdict = await stage.close({
    moreFound: before,
    mayBeGone: (sender, number, bucket) => bucket === bad && wasSent(sender, number),
    note: 'what the topic held went with it',
  });
  expect(good.map((topic) => verdict.buckets.get(topic)!.gone)).toEqual([0, 0]);
}

describe('a topic', () => {
  test.each(arrangements('no spool, no backup', 'spool and backup with replay'))(
    'that is missing, and made later: %s',
    async (arrangement) => {
      const good = await others('there');
      const missing = newTopicName('missing');
      const stage = await Stage.open({
        fault: 'topic missing, then made',
        arrangement,
        bootstrap,
        topics: [...good, missing],
      });
      await stage.load();
      await stage.fails([missing]);
      await stage.delivers(good);
      await stage.sends(1000);
      expect(
        stage.daemon.linesLike(new RegExp(`(${good.join('|')})/.* (switched to|delivery stopped)`)),
      ).toEqual([]);
      await createTopic([bootstrap], missing, { partitions: PARTITIONS });
      if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
      await stage.close({ duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
    },
  );

  test.each(arrangements('spool'))('that is deleted under load, and made again: %s', async (arrangement) => {
    await deleteAndMake('topic deleted under load, then made again', arrangement, PARTITIONS);
  });

  test.each(arrangements('no spool, no backup'))(
    'that is deleted under load, and made again with fewer partitions: %s',
    async (arrangement) => {
      await deleteAndMake('topic deleted under load, then made again smaller', arrangement, 1);
    },
  );
});

describe('a message', () => {
  test.each(arrangements('spool'))(
    'of 2 MiB among others is rejected, with its reason, and nothing else: %s',
    async (arrangement) => {
      const isBig = (number: number) => number % 1000 === 500;
      const framesEach = sized(2000, 20_000);
      const plan = {
        clients: 2,
        perSecond: undefined,
        framesEach,
        bytes: (number: number) => (isBig(number) ? 2 * MB : 512),
      };
      const stage = await Stage.open({
        fault: 'message of 2 MiB, one in 1000',
        arrangement,
        bootstrap,
        topics: await others('big'),
        plan,
      });
      await stage.load();
      await stage.sends(2 * framesEach);
      const runs = (2 * framesEach) / 1000;
      await stage.close({
        runs,
        duplicatesAtMost: 0,
        keylessDisorderedAtMost: 0,
        mustBeRejected: ({ message }) => message.length > MB,
      });
      const rejections = await readRejections(`${stage.daemon.folder}/rejected`);
      expect(rejections.reduce((sum, { frames }) => sum + frames, 0)).toBe(runs);
      for (const { reason } of rejections) expect(reason).toMatch(/too large|MESSAGE_TOO_LARGE/i);
    },
  );

  test.each(arrangements('no spool, no backup'))(
    'of 1 KiB, 5000 in a batch for a topic that takes 64 KiB at a time: %s',
    async (arrangement) => {
      const topic = newTopicName('small');
      await createTopic([bootstrap], topic, {
        partitions: PARTITIONS,
        config: { 'max.message.bytes': String(64 * 1024) },
      });
      const plan = { clients: 2, perSecond: undefined, framesEach: sized(2500, 25_000), bytes: () => 1024 };
      const stage = await Stage.open({
        fault: 'batch larger than the topic takes',
        arrangement,
        bootstrap,
        topics: [topic],
        batch: 5000,
        plan,
      });
      await stage.load();
      await stage.sends(2 * plan.framesEach);
      await stage.close({ duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
    },
  );
});
