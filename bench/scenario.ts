// What is measured: one line is one load, and the systems that take it, beside the floor.
import { kaheToFiles, kaheToKafka, kaheToTopic, kaheWatched } from './kahe.js';
import type { Load } from './load.js';
import { FULL_EXTRA_BYTES, type Payload } from './payload.js';
import type { System } from './system.js';
import type { Topics } from './topics.js';
import { rsyslog } from './rsyslog.js';

export interface Line {
  /** For --only and for the targets. */
  readonly id: string;
  readonly title: string;
  readonly load: Load;
  /** How it was measured, where it was not as the others. */
  readonly note?: string;
  /** What the systems are compared with. Default: the floor. */
  readonly base?: System;
  /** What the base is given, where it is something else. */
  readonly baseLoad?: Load;
  /** Each right after a run of the base, so that a pair sees the same machine. */
  readonly systems: readonly System[];
  readonly rounds: number;
}

export interface ScenarioOptions {
  readonly topics: Topics;
  readonly isQuick: boolean;
  readonly hasRsyslog: boolean;
}

const PARTITIONS = 4;
const LETTERS: Payload = { kind: 'letters', bytes: 100 };
const KIBIBYTE: Payload = { kind: 'letters', bytes: 1024 };
const FULL: Payload = { kind: 'full', bytes: 100 };
/** Plain frames of the same bytes. */
const AS_LONG_AS_FULL: Payload = { kind: 'letters', bytes: 100 + FULL_EXTRA_BYTES };
const JSON_LINES: Payload = { kind: 'json', bytes: 0 };

const SPOOL_NOTE = `Each run with the spool (\`SPOOL\` in a folder of the project's disk, \`SPOOL_SYNC=batch\`) comes right after one without; of both, CPU and frames/s are
taken until all is in the topic, for the receipt of a spool comes before the delivery.`;

const SMALL_BATCH = 1_000;
const SMALL_BATCH_NOTE = `"batch": ${SMALL_BATCH}. A batch of 10000 frames keeps the broker busy for some 7 ms. With two cores for all, Kahe has to wait that long now and then,
and the kernel's buffers of four connections last for 2 ms.`;

const FULL_NOTE = `Each run with full frames (a message of 100 B and two headers, traceparent and app) comes right after one with plain frames of the same bytes.`;

const ADMIN_NOTE = `Each run with ADMIN on, and /metrics read once a second, comes right after one with ADMIN off.`;

export function scenario({ topics, isQuick, hasRsyslog }: ScenarioOptions): Line[] {
  const none = kaheToKafka(topics, 'none', PARTITIONS);
  const snappy = kaheToKafka(topics, 'snappy', PARTITIONS);
  const peer = hasRsyslog ? [rsyslog(topics, PARTITIONS)] : [];
  const onePartition = [kaheToKafka(topics, 'none', 1), kaheToKafka(topics, 'snappy', 1)];
  const smallBatches = [
    kaheToKafka(topics, 'none', PARTITIONS, SMALL_BATCH),
    kaheToKafka(topics, 'snappy', PARTITIONS, SMALL_BATCH),
  ];
  const load = (clients: number, framesPerWrite: number, frames: number, payload: Payload): Load => {
    return { clients, senders: 1, framesPerWrite, payload, frames: isQuick ? frames / 5 : frames };
  };
  const saturated = (framesPerWrite: number, frames: number): Load => ({
    ...load(4, framesPerWrite, frames, LETTERS),
    senders: 4,
  });
  // A quick run keeps the lines that the targets are about, and one of each other kind.
  const headline: readonly System[] = [none, snappy, ...(isQuick ? [] : [kaheToFiles]), ...peer];
  // A target that is near to what is measured needs more runs than the others, for one run differs from the
  // next by a tenth.
  const rounds = isQuick ? { near: 3, headline: 3, other: 1 } : { near: 7, headline: 3, other: 3 };
  const lines: Line[] = [
    {
      id: 'one',
      title: '100 B letters, one frame a write, 4 clients',
      load: load(4, 1, 3_000_000, LETTERS),
      systems: headline,
      rounds: rounds.near,
    },
    {
      id: 'one-small-batches',
      title: '100 B letters, one frame a write, 4 clients, batches of 1000',
      note: SMALL_BATCH_NOTE,
      load: load(4, 1, 3_000_000, LETTERS),
      systems: smallBatches,
      rounds: rounds.headline,
    },
    {
      id: 'fifty',
      title: '100 B letters, 50 frames a write, 4 clients',
      load: load(4, 50, 12_000_000, LETTERS),
      systems: headline,
      rounds: rounds.headline,
    },
    {
      id: 'one-1-client',
      title: '100 B letters, one frame a write, 1 client',
      load: load(1, 1, 1_000_000, LETTERS),
      systems: [none, snappy],
      rounds: rounds.other,
    },
    {
      id: 'one-64-clients',
      title: '100 B letters, one frame a write, 64 clients',
      load: load(64, 1, 1_000_000, LETTERS),
      systems: [none, snappy],
      rounds: rounds.other,
    },
    {
      id: 'kib',
      title: '1 KiB letters, one frame a write, 4 clients',
      load: load(4, 1, 400_000, KIBIBYTE),
      systems: [none, snappy, kaheToFiles, ...peer],
      rounds: rounds.other,
    },
    {
      id: 'json',
      title: 'JSON log lines, one frame a write, 4 clients',
      load: load(4, 1, 1_000_000, JSON_LINES),
      systems: [none, snappy, ...peer],
      rounds: rounds.other,
    },
  ];
  const spool = { note: SPOOL_NOTE, base: kaheToTopic(topics), systems: [kaheToTopic(topics, 'batch')] };
  lines.push(
    {
      id: 'spool',
      title: 'The spool: 100 B letters, one frame a write, 4 clients',
      load: load(4, 1, 1_500_000, LETTERS),
      ...spool,
      rounds: rounds.headline,
    },
    {
      id: 'spool-fifty',
      title: 'The spool: 100 B letters, 50 frames a write, 4 clients',
      load: load(4, 50, 4_000_000, LETTERS),
      ...spool,
      rounds: rounds.other,
    },
    {
      id: 'full-fifty',
      title: 'Full frames with two headers, 50 a write, 4 clients',
      note: FULL_NOTE,
      load: load(4, 50, 6_000_000, FULL),
      base: none,
      baseLoad: load(4, 50, 6_000_000, AS_LONG_AS_FULL),
      systems: [none],
      rounds: rounds.headline,
    },
    {
      id: 'admin',
      title: 'ADMIN on: 100 B letters, one frame a write, 4 clients',
      note: ADMIN_NOTE,
      load: load(4, 1, 3_000_000, LETTERS),
      base: none,
      systems: [kaheWatched(topics)],
      rounds: rounds.near,
    },
  );
  if (isQuick) return lines;
  return [
    ...lines,
    {
      id: 'json-fifty',
      title: 'JSON log lines, 50 frames a write, 4 clients',
      load: load(4, 50, 2_000_000, JSON_LINES),
      systems: [none, snappy, ...peer],
      rounds: rounds.other,
    },
    {
      id: 'one-saturated',
      title: '100 B letters, one frame a write, 4 clients in 4 processes',
      load: saturated(1, 1_500_000),
      systems: [none, snappy],
      rounds: rounds.other,
    },
    {
      id: 'fifty-saturated',
      title: '100 B letters, 50 frames a write, 4 clients in 4 processes',
      load: saturated(50, 4_000_000),
      systems: [none, snappy],
      rounds: rounds.other,
    },
    {
      id: 'partition',
      title: '100 B letters, 50 frames a write, 4 clients, one partition',
      load: load(4, 50, 2_000_000, LETTERS),
      systems: onePartition,
      rounds: rounds.other,
    },
  ];
}
