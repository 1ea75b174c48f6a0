// The result page, for people.
import { EVEN_CLIENTS, EVEN_RATES } from './even.js';
import { KAHE_SETTINGS } from './kahe.js';
import {
  baseName,
  evenSpread,
  type Results,
  type Spread,
  type Summary,
  summaries,
  visitSpread,
} from './results.js';
import type { Line } from './scenario.js';
import { judge, type Verdict } from './targets.js';
import { ROWS, type VisitCost, VISITS } from './visits.js';

export interface Circumstances {
  readonly command: string;
  readonly machine: readonly string[];
  /** Its version, or why it is not in the tables. */
  readonly rsyslog: string;
  readonly seconds: number;
}

const MIB = 1024 ** 2;

export function renderReport(results: Results, circumstances: Circumstances): string {
  return [
    '# Measured\n',
    ...circumstances.machine.map((line) => `- ${line}`),
    `- ${circumstances.rsyslog}`,
    `- \`${circumstances.command}\`, ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, took ${(circumstances.seconds / 60).toFixed(1)} minutes`,
    `- Kahe: ${KAHE_SETTINGS}\n`,
    HOW_TO_READ,
    '## Targets\n',
    renderVerdicts(judge(results)),
    ...results.lines.flatMap((line) => renderLine(results, line)),
    ...renderEven(results),
    ...renderVisits(results),
    ...renderReceipts(results),
    ...renderReplay(results),
    ...renderIdle(results),
    ...renderInvalid(results),
  ].join('\n');
}

const HOW_TO_READ = `Figures are medians with (least–most). The floor is a plain Node server that reads in the usual way and throws away; × floor compares with
its run just before, for machines are noisy. CPU is user and system time of the whole process under test, in seconds for a million frames,
without its start and the warming up: a fifth as many frames again, before. Frames/s: the floor, until all is read; Kahe, until the first 90 % are acknowledged by receipts (the last, half-full batch
waits for its batchTimeout, however fast all else went); rsyslog, until all are in the topic. Unless a line says otherwise one process writes for all clients, a system call for each write. Senders, receiver
and Kafka share the cores, so frames/s also say what the others took: the columns "senders" and "Kafka" are their CPU-s for a million. After
each run the messages in the topic, or the frames in the files, were counted: they must be exactly those that were sent.
`;

function renderVerdicts(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ target, measured, isMet }) => [
    target,
    measured ?? '–',
    measured === undefined ? 'not measured' : isMet ? 'met' : '**missed**',
  ]);
  return table(['target', 'measured', ''], rows);
}

function renderLine(results: Results, line: Line): string[] {
  const base = baseName(line);
  const rows = summaries(results, line).map((summary) => renderSummary(summary, base));
  if (rows.length === 0) return [];
  const head = [
    '',
    'CPU-s per million',
    `× ${base}`,
    'frames/s, thousands',
    `× ${base}`,
    'peak MiB',
    'senders',
    'Kafka',
    'runs',
  ];
  return [
    `## ${line.title} (\`${line.id}\`)\n`,
    ...(line.note === undefined ? [] : [`${line.note}\n`]),
    table(head, rows),
  ];
}

function renderSummary(summary: Summary, base: string): string[] {
  const { system, cpu, cpuRatio, framesPerSecond, speedRatio, peakBytes, senderCpu, kafkaCpu, runs } =
    summary;
  const isBase = system === base;
  return [
    system,
    ranged(cpu, 2),
    isBase ? '1' : ranged(cpuRatio, 2),
    ranged(framesPerSecond, 0, 1 / 1000),
    isBase ? '1' : ranged(speedRatio, 2),
    (peakBytes / MIB).toFixed(0),
    senderCpu.toFixed(2),
    kafkaCpu.toFixed(2),
    String(runs),
  ];
}

function renderEven({ evenCosts }: Results): string[] {
  if (evenCosts.length === 0) return [];
  const names = [...new Set(evenCosts.map(({ name }) => name))];
  const cell = (name: string, rate: number): string => {
    const found = evenSpread(evenCosts, name, rate);
    return found === undefined ? '–' : ranged(found, 1);
  };
  const rows = names.map((name) => [name, ...EVEN_RATES.map((rate) => cell(name, rate))]);
  return [
    '## Frames that come evenly spread (`even`)\n',
    EVEN_NOTE,
    table(['% of a core at', ...EVEN_RATES.map((rate) => `${rate} frames/s`)], rows),
  ];
}

const EVEN_NOTE = `100 B letters, one frame a write, from ${EVEN_CLIENTS} connections, each frame at its moment, over four seconds: what the process takes of one core.
`;

function renderVisits({ visitCosts }: Results): string[] {
  const names = [...new Set(visitCosts.map(({ name }) => name))];
  if (names.length === 0) return [];
  const rows = names.map((name) => [
    name,
    visitRate(visitCosts, name),
    ranged(
      visitSpread(visitCosts, name, ({ cpuMicrosecondsEach }) => cpuMicrosecondsEach)!,
      0,
    ),
  ]);
  return [
    '## Connections with one frame each (`visits`)\n',
    VISITS_NOTE,
    table(['', 'connections/s, thousands', 'CPU, µs each'], rows),
  ];
}

function visitRate(costs: readonly VisitCost[], name: string): string {
  const found = visitSpread(costs, name, ({ visitsPerSecond }) => visitsPerSecond);
  return found === undefined ? '–' : ranged(found, 1, 1e-3);
}

const VISITS_NOTE = `Connect, write one frame of 100 B letters, close, without waiting for that: ${VISITS} times, in ${ROWS} rows beside each other, as PHP-FPM workers without persistent
connections do. CPU until all is in the topic; what Kafka's client takes to deliver is in it.
`;

function renderReceipts({ receipts }: Results): string[] {
  if (receipts.length === 0) return [];
  const rows = receipts.map(({ name, questions, p50Ms, p99Ms, maxMs, framesPerSecond }) => {
    return [
      name,
      ...[p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(2)),
      String(questions),
      framesPerSecond.toFixed(0),
    ];
  });
  const head = ['', 'p50, ms', 'p99, ms', 'most, ms', 'questions', 'frames/s beside'];
  return ['## Receipts (`receipts`)\n', RECEIPTS_NOTE, table(head, rows)];
}

const RECEIPTS_NOTE = `While one process writes 100 B letters at a steady rate to 4 connections, one frame a write, another with a connection of its own writes a frame and a
question and reads the answer, one at a time, at most a hundred a second: the time from question to answer. Kahe, none, to Kafka. Without a spool a
receipt waits until its batch is closed, after up to batchTimeout, and acknowledged.
`;

function renderReplay({ replay }: Results): string[] {
  if (replay === undefined) return [];
  const { live, replays } = replay;
  const row = (
    name: string,
    frames: number,
    perSecond: number,
    bytesEach: number,
    cpuPerMillion: number,
  ): string[] => {
    return [
      name,
      (perSecond / 1000).toFixed(0),
      ((perSecond * bytesEach) / 1e6).toFixed(0),
      cpuPerMillion.toFixed(2),
      (frames / 1000).toFixed(0),
    ];
  };
  const rows = replays.map(({ cameInPerSecond, frames, bytes, seconds, cpuSeconds }) => {
    const name =
      cameInPerSecond === 0
        ? 'replay, nothing else comes'
        : `replay, while ${(cameInPerSecond / 1000).toFixed(1)} thousand frames/s come in`;
    return row(name, frames, frames / seconds, bytes / frames, (cpuSeconds * 1e6) / frames);
  });
  const liveRow = row(
    'live, nothing else comes',
    live.frames,
    live.framesPerSecond,
    replays[0]!.bytes / replays[0]!.frames,
    live.cpuSecondsPerMillion,
  );
  return [
    '## Replay (`replay`)\n',
    REPLAY_NOTE,
    table(['', 'frames/s, thousands', 'MB/s', 'CPU-s per million', 'frames, thousands'], [...rows, liveRow]),
  ];
}

const REPLAY_NOTE = `Kahe, none, took 100 B letters while Kafka was away; from its log line that the primary is back until the one that it has had all, with no file
left in the backup: the frames that went from there to Kafka, those that joined the backup's end meanwhile (one frame a write, 4 clients) among them, and what the whole
process, reading and backing those up too, had of the CPU. Live is the load of the line \`fifty\`.
`;

function renderIdle({ idleConnections, idleDaemon }: Results): string[] {
  if (idleConnections.length === 0 && idleDaemon === undefined) return [];
  const rows = idleConnections.map(({ name, connections, bytesEach }) => [
    name,
    `${(bytesEach / 1024).toFixed(1)} KiB for each of ${connections} idle connections`,
  ]);
  if (idleDaemon) {
    const { percent, seconds, tidyingSeconds, tidyingCpuSeconds } = idleDaemon;
    rows.push([
      'Kahe, snappy',
      `${percent.toFixed(2)} % of a core over ${seconds} s, connected to Kafka; in the ${tidyingSeconds} s before, after traffic, ${tidyingCpuSeconds.toFixed(2)} CPU-s once`,
    ]);
  }
  return ['## Idle (`idle`)\n', table(['', ''], rows)];
}

function renderInvalid({ invalid }: Results): string[] {
  if (invalid.length === 0) return [];
  return ['## INVALID\n', ...invalid.map((text) => `- ${text}`), ''];
}

function ranged({ median, min, max }: Spread, digits: number, factor = 1): string {
  const show = (value: number): string => (value * factor).toFixed(digits);
  return min === max ? show(median) : `${show(median)} (${show(min)}–${show(max)})`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, head.map(() => '---'), ...rows];
  return `${all.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}
