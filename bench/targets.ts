// What the figures should be, and whether they are.
import { EVEN_RATES } from './even.js';
import { RECEIPTS_LOAD_PER_SECOND } from './receipts.js';
import { INCOMING_PER_SECOND } from './replay.js';
import { evenSpread, type Results, type Summary, summaries, visitSpread } from './results.js';

export interface Verdict {
  readonly target: string;
  /** undefined: not measured this time. */
  readonly measured: string | undefined;
  readonly isMet: boolean;
}

const MIB = 1024 ** 2;
const MOST_CPU = [
  { line: 'one', system: 'Kahe, none', ratio: 1.9 },
  { line: 'one', system: 'Kahe, snappy', ratio: 2.2 },
  { line: 'fifty', system: 'Kahe, none', ratio: 3.5 },
  { line: 'fifty', system: 'Kahe, snappy', ratio: 7 },
];
const FAST = [
  { line: 'one', system: 'Kahe, none' },
  { line: 'one', system: 'Kahe, snappy' },
  { line: 'one', system: 'Kahe, files' },
  { line: 'one-small-batches', system: 'Kahe, none' },
  { line: 'one-small-batches', system: 'Kahe, snappy' },
];
const MOST_SPOOL_CPU = 1.5;
const MOST_ADMIN_CPU = 1.03;
const MOST_RECEIPT_MS = 5;
/** A replay ends under any load that is at most half as fast. */
const LEAST_REPLAY = 2 * INCOMING_PER_SECOND;
/** Of a steady rate, for the figure taken beside it to count. */
const LEAST_OF_RATE = 0.98;
const LEAST_SPEED = 0.85;
const MOST_MEMORY_MB = 160;
const MOST_CONNECTION_KIB = 20;
const MOST_IDLE_PERCENT = 0.5;

export function judge(results: Results): Verdict[] {
  const find = (id: string, system: string): Summary | undefined => {
    const line = results.lines.find((candidate) => candidate.id === id);
    return line && summaries(results, line).find((summary) => summary.system === system);
  };
  return [
    ...MOST_CPU.map(({ line, system, ratio }) =>
      cpuVerdict(find(line, system), `${line}: ${system}: CPU at most ${ratio} × the floor's`, ratio),
    ),
    ...['one', 'fifty'].map((line) =>
      peerVerdict(find(line, 'Kahe, snappy'), find(line, 'rsyslog, snappy'), line),
    ),
    ...FAST.map(({ line, system }) => speedVerdict(find(line, system), `${line}: ${system}`)),
    ...EVEN_RATES.map((rate) => evenVerdict(results, rate)),
    visitVerdict(results),
    memoryVerdict(results),
    cpuVerdict(
      find('spool', 'Kahe, none, spool'),
      `spool: Kahe, none: CPU at most ${MOST_SPOOL_CPU} × that without`,
      MOST_SPOOL_CPU,
    ),
    cpuVerdict(
      find('admin', 'Kahe, none, ADMIN'),
      `admin: Kahe, none: CPU with ADMIN on at most ${MOST_ADMIN_CPU} × that with it off`,
      MOST_ADMIN_CPU,
    ),
    receiptVerdict(results),
    replayVerdict(results),
    connectionVerdict(results),
    idleVerdict(results),
  ];
}

function cpuVerdict(summary: Summary | undefined, target: string, most: number): Verdict {
  if (summary === undefined) return { target, measured: undefined, isMet: false };
  const { median, min, max } = summary.cpuRatio;
  return {
    target,
    measured: `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`,
    isMet: median <= most,
  };
}

function peerVerdict(kahe: Summary | undefined, peer: Summary | undefined, line: string): Verdict {
  const target = `${line}: Kahe, snappy: less CPU than rsyslog, snappy`;
  if (kahe === undefined || peer === undefined) return { target, measured: undefined, isMet: false };
  const measured = `${kahe.cpu.median.toFixed(2)} against ${peer.cpu.median.toFixed(2)} CPU-s per million`;
  return { target, measured, isMet: kahe.cpu.median < peer.cpu.median };
}

function speedVerdict(summary: Summary | undefined, what: string): Verdict {
  const target = `${what}: delivers at least ${LEAST_SPEED} × the frames/s that the floor reads`;
  if (summary === undefined) return { target, measured: undefined, isMet: false };
  const { median, min, max } = summary.speedRatio;
  return {
    target,
    measured: `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`,
    isMet: median >= LEAST_SPEED,
  };
}

/** Below that something holds up who connects. */
const LEAST_VISITS = 0.7;

function visitVerdict({ visitCosts }: Results): Verdict {
  const target = `visits: Kahe, none: takes at least ${LEAST_VISITS} × the connections/s that the floor takes`;
  const [kahe, base] = ['Kahe, none', 'floor'].map(
    (name) => visitSpread(visitCosts, name, ({ visitsPerSecond }) => visitsPerSecond)?.median,
  );
  if (kahe === undefined || base === undefined) return { target, measured: undefined, isMet: false };
  return { target, measured: (kahe / base).toFixed(2), isMet: kahe / base >= LEAST_VISITS };
}

function evenVerdict({ evenCosts }: Results, rate: number): Verdict {
  const target = `even: Kahe, none: less CPU than the floor at ${rate} frames/s`;
  const [kahe, base] = ['Kahe, none', 'floor'].map((name) => evenSpread(evenCosts, name, rate)?.median);
  if (kahe === undefined || base === undefined) return { target, measured: undefined, isMet: false };
  return {
    target,
    measured: `${kahe.toFixed(1)} % of a core against ${base.toFixed(1)} %`,
    isMet: kahe < base,
  };
}

function memoryVerdict({ pairs }: Results): Verdict {
  const target = `all: Kahe: peak memory at most ${MOST_MEMORY_MB} MB`;
  const worst = pairs
    .filter(({ system }) => system.startsWith('Kahe'))
    .toSorted((a, b) => b.run.peakBytes - a.run.peakBytes)[0];
  if (worst === undefined) return { target, measured: undefined, isMet: false };
  const { peakBytes } = worst.run;
  return {
    target,
    measured: `${(peakBytes / 1e6).toFixed(0)} MB (${(peakBytes / MIB).toFixed(0)} MiB; ${worst.line.id}: ${worst.system})`,
    isMet: peakBytes <= MOST_MEMORY_MB * 1e6,
  };
}

function receiptVerdict({ receipts }: Results): Verdict {
  const target = `receipts: SPOOL_SYNC=batch: p99 under ${MOST_RECEIPT_MS} ms at ${RECEIPTS_LOAD_PER_SECOND} frames/s`;
  const batch = receipts.find(({ name }) => name === 'SPOOL_SYNC=batch');
  if (batch === undefined) return { target, measured: undefined, isMet: false };
  const measured = `${batch.p99Ms.toFixed(2)} ms at ${batch.framesPerSecond.toFixed(0)} frames/s`;
  return {
    target,
    measured,
    isMet: batch.p99Ms < MOST_RECEIPT_MS && batch.framesPerSecond >= LEAST_OF_RATE * RECEIPTS_LOAD_PER_SECOND,
  };
}

function replayVerdict({ replay }: Results): Verdict {
  const target = `replay: at least ${LEAST_REPLAY} frames/s while ${INCOMING_PER_SECOND} come in`;
  const replayed = replay?.replays.find(({ incomingPerSecond }) => incomingPerSecond === INCOMING_PER_SECOND);
  if (replayed === undefined) return { target, measured: undefined, isMet: false };
  const perSecond = replayed.frames / replayed.seconds;
  const measured = `${perSecond.toFixed(0)} while ${replayed.cameInPerSecond.toFixed(0)} came in`;
  return {
    target,
    measured,
    isMet: perSecond >= LEAST_REPLAY && replayed.cameInPerSecond >= LEAST_OF_RATE * INCOMING_PER_SECOND,
  };
}

function connectionVerdict({ idleConnections }: Results): Verdict {
  const target = `idle: Kahe: at most ${MOST_CONNECTION_KIB} KiB for each of 10,000 connections`;
  const kahe = idleConnections.find(({ name }) => name.startsWith('Kahe'));
  if (kahe === undefined) return { target, measured: undefined, isMet: false };
  const kib = kahe.bytesEach / 1024;
  return {
    target,
    measured: `${kib.toFixed(1)} KiB with ${kahe.connections}`,
    isMet: kib <= MOST_CONNECTION_KIB,
  };
}

function idleVerdict({ idleDaemon }: Results): Verdict {
  const target = `idle: Kahe: less than ${MOST_IDLE_PERCENT} % of a core`;
  if (idleDaemon === undefined) return { target, measured: undefined, isMet: false };
  return {
    target,
    measured: `${idleDaemon.percent.toFixed(2)} % over ${idleDaemon.seconds} s`,
    isMet: idleDaemon.percent < MOST_IDLE_PERCENT,
  };
}
