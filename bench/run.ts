// `make bench`: Kahe beside the floor and rsyslog, on this machine, in one go.
// A whole run writes bench/RESULTS.md, one with --quick or --only .cache/bench/RESULTS.md. Exit code 1: a run lost frames, had too many, or failed.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startKafka } from '../test/support/kafkaServer.js';
import { floor } from './floor.js';
import { type IdleConnections, type IdleDaemon, measureIdleConnections, measureIdleDaemon } from './idle.js';
import { isBuilt, kaheToKafka } from './kahe.js';
import { describeMachine } from './machine.js';
import { measure, type Run } from './measure.js';
import { renderReport } from './report.js';
import type { Pair, Results } from './results.js';
import { rsyslogLacks, rsyslogVersion } from './rsyslog.js';
import { type Line, scenario } from './scenario.js';
import type { System } from './system.js';
import { Topics } from './topics.js';

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } } });
const only = values.only === undefined ? undefined : new RegExp(values.only);
const isWanted = (id: string): boolean => only?.test(id) ?? true;

const pairs: Pair[] = [];
const invalid: string[] = [];
const idleConnections: IdleConnections[] = [];
let idleDaemon: IdleDaemon | undefined;

if (!isBuilt()) throw new Error('dist/main.js is missing: npm run build makes it');
const startMs = performance.now();
const machine = describeMachine();
const lack = rsyslogLacks();
const kafka = await startKafka();
const topics = new Topics(kafka);
const lines = scenario({ topics, isQuick: values.quick, hasRsyslog: lack === undefined }).filter(({ id }) => isWanted(id));
for (const line of lines) await measureLine(line);
if (isWanted('idle')) await measureIdle();
await kafka.close();
finish();

async function measureLine(line: Line): Promise<void> {
  console.log(`\n${line.id}: ${line.title}`);
  for (let round = 0; round < line.rounds; round++) {
    for (const system of line.systems) {
      const base = await tryToMeasure(line.base ?? floor, line);
      const run = await tryToMeasure(system, line);
      if (base && run) pairs.push({ line, system: system.name, base, run });
    }
  }
}

/** undefined: the run counts for nothing, and what was wrong is noted. */
async function tryToMeasure(system: System, line: Line): Promise<Run | undefined> {
  try {
    const run = await measure(system, line.load);
    console.log(`  ${system.name.padEnd(20)} ${run.cpuSecondsPerMillion.toFixed(2)} CPU-s per million, ${(run.framesPerSecond / 1000).toFixed(0)} thousand frames/s, ${(run.peakBytes / 1024 ** 2).toFixed(0)} MiB`);
    if (run.invalid === undefined) return run;
    noteInvalid(`${line.id}: ${system.name}: ${run.invalid}`);
  } catch (error) {
    noteInvalid(`${line.id}: ${system.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return undefined;
}

function noteInvalid(text: string): void {
  console.log(`  INVALID ${text}`);
  invalid.push(text);
}

async function measureIdle(): Promise<void> {
  console.log('\nidle');
  const kahe = kaheToKafka(topics, 'snappy', 4);
  try {
    for (const system of [floor, kahe]) idleConnections.push(await measureIdleConnections(system));
    idleDaemon = await measureIdleDaemon(kahe);
  } catch (error) {
    noteInvalid(`idle: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function finish(): void {
  const results: Results = { lines, pairs, invalid, idleConnections, idleDaemon };
  const report = renderReport(results, {
    command: ['npx tsx bench/run.ts', ...process.argv.slice(2)].join(' '),
    machine,
    rsyslog: lack === undefined ? `rsyslog ${rsyslogVersion()}, imptcp and omkafka` : `no figures of rsyslog: ${lack}`,
    seconds: (performance.now() - startMs) / 1000,
  });
  const isWhole = !values.quick && only === undefined;
  const file = path.resolve(import.meta.dirname, isWhole ? 'RESULTS.md' : '../.cache/bench/RESULTS.md');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, report);
  console.log(`\n${report}\nwritten to ${path.relative(process.cwd(), file)}`);
  // Whatever a failed run left behind ends with this process.
  process.exit(invalid.length > 0 ? 1 : 0);
}
