// The result page, for people.
import { KAHE_SETTINGS } from './kahe.js';
import { baseName, type Results, type Spread, type Summary, summaries } from './results.js';
import type { Line } from './scenario.js';
import { judge, type Verdict } from './targets.js';

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
    ...renderIdle(results),
    ...renderInvalid(results),
  ].join('\n');
}

const HOW_TO_READ = `Figures are medians with (least–most). The floor is a plain Node server that reads in the usual way and throws away; × floor compares with
its run just before, for machines are noisy. CPU is user and system time of the whole process under test, in seconds for a million frames,
without its start. Frames/s: the floor, until all is read; Kahe, until the first 90 % are acknowledged by receipts (the last, half-full batch
waits for its batchTimeout, however fast all else went); rsyslog, until all are in the topic. Unless a line says otherwise one process writes for all clients, a system call for each write. Senders, receiver and Kafka share the cores, so
frames/s also say what the others took: the column "senders" is their CPU-s for a million. After each run the messages in the topic, or the
frames in the files, were counted: they must be exactly those that were sent.
`;

function renderVerdicts(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ target, measured, isMet }) => [target, measured ?? '–', measured === undefined ? 'not measured' : isMet ? 'met' : '**missed**']);
  return table(['target', 'measured', ''], rows);
}

function renderLine(results: Results, line: Line): string[] {
  const base = baseName(line);
  const rows = summaries(results, line).map((summary) => renderSummary(summary, base));
  if (rows.length === 0) return [];
  const head = ['', 'CPU-s per million', `× ${base}`, 'frames/s, thousands', `× ${base}`, 'peak MiB', 'senders', 'runs'];
  return [`## ${line.title} (\`${line.id}\`)\n`, ...(line.note === undefined ? [] : [`${line.note}\n`]), table(head, rows)];
}

function renderSummary(summary: Summary, base: string): string[] {
  const { system, cpu, cpuRatio, framesPerSecond, speedRatio, peakBytes, senderCpu, runs } = summary;
  const isBase = system === base;
  return [
    system,
    ranged(cpu, 2),
    isBase ? '1' : ranged(cpuRatio, 2),
    ranged(framesPerSecond, 0, 1 / 1000),
    isBase ? '1' : ranged(speedRatio, 2),
    (peakBytes / MIB).toFixed(0),
    senderCpu.toFixed(2),
    String(runs),
  ];
}

function renderIdle({ idleConnections, idleDaemon }: Results): string[] {
  if (idleConnections.length === 0 && idleDaemon === undefined) return [];
  const rows = idleConnections.map(({ name, connections, bytesEach }) => [name, `${(bytesEach / 1024).toFixed(1)} KiB for each of ${connections} idle connections`]);
  if (idleDaemon) rows.push(['Kahe, snappy', `${idleDaemon.percent.toFixed(2)} % of a core over ${idleDaemon.seconds} s, after traffic, connected to Kafka`]);
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
