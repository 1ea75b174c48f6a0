// The configuration is read again and again (SIGHUP), under load in front of a real Kafka; every tenth file
// can't be used.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, inject, test } from 'vitest';
import type { TestDaemon } from '../../support/daemon.js';
import { fileStream, newTopic } from '../../support/daemonBuckets.js';
import { reload } from '../../support/reloads.js';
import { sized } from './oracle.js';
import { BATCH, PARTITIONS, Stage, arrangements } from './stage.js';

const { bootstrap } = inject('kafka');

interface Buckets {
  readonly streamsConfigs: { readonly kafka: { readonly settings: object } };
  readonly buckets: readonly { readonly id: string }[];
}

/** The nth file: each differs from the one before it in more than one way. */
function variant({ streamsConfigs: { kafka }, buckets: [first, second] }: Buckets, round: number): object {
  const isOdd = round % 2 === 1;
  const extra = round % 3 === 0 ? ['extra'] : [];
  const common = { batch: BATCH - (round % 5), batchTimeout: 40 + (round % 3), streams: ['kafka', ...extra] };
  return {
    streamsConfigs: {
      kafka: {
        ...kafka,
        settings: { ...kafka.settings, ...(round % 4 < 2 ? { 'batch.num.messages': 5000 } : {}) },
      },
      ...(extra.length > 0 ? { extra: fileStream('extra') } : {}),
    },
    // One of them comes and goes from its own entry to that of defaultBucket; one that nobody writes to comes
    // and goes.
    buckets: [
      { ...first, ...common },
      ...(isOdd ? [{ ...second, ...common }] : [{ id: 'nobody', ...common }]),
    ],
    defaultBucket: common,
  };
}

test.each(arrangements('no spool, no backup', 'spool and backup with replay'))(
  "100 reloads, ten of them of files that can't be used: %s",
  async (arrangement) => {
    const topics = [
      await newTopic(bootstrap, 'reload-a', PARTITIONS),
      await newTopic(bootstrap, 'reload-b', PARTITIONS),
    ];
    const stage = await Stage.underLoad({
      fault: "SIGHUP with another configuration, every tenth can't be used",
      arrangement,
      bootstrap,
      topics,
    });
    const { daemon, workload } = stage;
    const configured = JSON.parse(readFileSync(path.join(daemon.folder, 'buckets.json'), 'utf8')) as Buckets;
    const runs = sized(100, 500);
    for (let round = 1; round <= runs; round++) {
      const isBad = round % 10 === 0;
      const changed = await reload(
        daemon,
        isBad
          ? { ...configured, buckets: [{ id: topics[0], streams: ['nowhere'] }] }
          : variant(configured, round),
      );
      expect(changed === undefined, `reload ${round}`).toBe(isBad);
      await stage.sends(40);
    }
    await reload(daemon, configured);
    await stage.delivers();
    expect(workload.senders.filter(({ isCut }) => isCut)).toEqual([]);
    expectNoSuccessorInTrouble(daemon);
    await stage.close({ runs, duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
  },
  240_000,
);

/** Nothing went wrong that a client, or a person, would notice. */
function expectNoSuccessorInTrouble(daemon: TestDaemon): void {
  expect(
    daemon
      .linesLike(/^(WARN|ERROR|FATAL)/)
      .filter((line) => !/SIGHUP: .*(no stream "nowhere"|the old configuration goes on)/.test(line)),
  ).toEqual([]);
}
