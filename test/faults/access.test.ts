// A broker that does not want what comes: a wrong password, a quota.
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { newTopic } from '../../support/daemonBuckets.js';
import { changeConfig } from './kafkaConfigs.js';
import { sized } from './oracle.js';
import { PARTITIONS, Stage, arrangements } from './stage.js';

const { bootstrap, security } = inject('kafka');

beforeAll(() => {
  if (security === undefined)
    throw new Error(
      'these tests change users and quotas, so they need the Kafka that the run starts: unset KAFKA_BOOTSTRAP',
    );
});

async function newTopics(about: string): Promise<string[]> {
  return [
    await newTopic(bootstrap, `${about}-a`, PARTITIONS),
    await newTopic(bootstrap, `${about}-b`, PARTITIONS),
  ];
}

describe('a broker', () => {
  test.each(arrangements('spool'))(
    'that does not know the password until it is changed there: %s',
    async (arrangement) => {
      const user = `late-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
      await changeConfig(bootstrap, { entity: 'users', name: user, add: 'SCRAM-SHA-256=[password=another]' });
      const settings = {
        'security.protocol': 'sasl_plaintext',
        'sasl.mechanisms': 'SCRAM-SHA-256',
        'sasl.username': user,
        'sasl.password': 'pa55-of-late',
      };
      const topics = await newTopics('password');
      const stage = await Stage.open({
        fault: 'wrong password, then right',
        arrangement,
        bootstrap: security!.scramBootstrap,
        readFrom: bootstrap,
        topics,
        settings,
      });
      await stage.load();
      await stage.fails();
      await stage.sends(1000);
      expect(stage.daemon.lines.join('\n')).not.toContain('pa55-of-late');
      await changeConfig(bootstrap, {
        entity: 'users',
        name: user,
        add: 'SCRAM-SHA-256=[password=pa55-of-late]',
      });
      if (!stage.hasBackup || stage.hasReplay || sized(false, true)) await stage.recovers();
      await stage.close({ duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
    },
  );

  test.each(arrangements('no spool, no backup'))('that throttles by quota: %s', async (arrangement) => {
    const client = `slow-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    await changeConfig(bootstrap, { entity: 'clients', name: client, add: 'producer_byte_rate=100000' });
    const settings = { 'client.id': client, 'message.timeout.ms': 60_000, 'socket.timeout.ms': 30_000 };
    const stage = await Stage.open({
      fault: 'throttled by a quota of 100 KB/s',
      arrangement,
      bootstrap,
      topics: await newTopics('quota'),
      settings,
      plan: { framesEach: sized(500, 2500), perSecond: undefined },
    });
    await stage.load();
    await stage.sends(4 * sized(500, 2500));
    await stage.close({ duplicatesAtMost: 0, keylessDisorderedAtMost: 0 });
  });
});
