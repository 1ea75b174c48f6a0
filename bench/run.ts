// `make bench`: Kahe beside the floor and rsyslog, on this machine, in one go. A whole run writes
// bench/RESULTS.md, one with --quick or --only .cache/bench/RESULTS.md. Exit code 1: a run lost frames, had
// too many, or failed.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/errors.js';
import { startKafka } from '../support/kafkaServer.js';
import { EVEN_RATES, type EvenCost, measureEven } from './even.js';
import { floor } from './floor.js';
import { type IdleConnections, type IdleDaemon, measureIdleConnections, measureIdleDaemon } from './idle.js';
import { isBuilt, kaheToKafka, kaheToTopic } from './kahe.js';
import type { Load } from './load.js';
import { describeMachine } from './machine.js';
import { measure, type Run } from './measure.js';
import { measureReceipts, type ReceiptWaits } from './receipts.js';
import { measureReplay, type ReplayFigures } from './replay.js';
import { renderReport } from './report.js';
import type { Pair, Results } from './results.js';
import { rsyslog, rsyslogLacks, rsyslogVersion } from './rsyslog.js';
import { type Line, scenario } from './scenario.js';
import type { System } from './system.js';
import { Topics } from './topics.js';
import { measureVisits, type VisitCost } from './visits.js';

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const only = values.only === undefined ? undefined : new RegExp(values.only);
const isWanted = (id: string): boolean => only?.test(id) ?? true;

const NO_SPOOL = 'no spool';
/** For the broker, before anything is measured. */
const WARM_UP: Load = {
  clients: 4,
  senders: 1,
  framesPerWrite: 50,
  frames: 12_000_000,
  payload: { kind: 'letters', bytes: 100 },
};
const EVEN_ROUNDS = 2;
const VISIT_ROUNDS = 3;
const pairs: Pair[] = [];
const invalid: string[] = [];
const idleConnections: IdleConnections[] = [];
const evenCosts: EvenCost[] = [];
const visitCosts: VisitCost[] = [];
const receipts: ReceiptWaits[] = [];
let replay: ReplayFigures | undefined;
let idleDaemon: IdleDaemon | undefined;

if (!isBuilt()) throw new Error('dist/main.js is missing: npm run build makes it');
const startMs = performance.now();
const machine = describeMachine();
const lack = rsyslogLacks();
const kafka = await startKafka({ jvm: 'asShipped' });
const kafkaPid = kafka.nodes[0]!.pid!;
const topics = new Topics(kafka);
// A broker that runs for months has long been compiled.
await measure(kaheToKafka(topics, 'none', 4), WARM_UP, kafkaPid);
const lines = scenario({ topics, isQuick: values.quick, hasRsyslog: lack === undefined }).filter(({ id }) =>
  isWanted(id),
);
for (const line of lines) await measureLine(line);
if (isWanted('even')) await measureAllEven();
if (isWanted('visits')) await measureAllVisits();
if (isWanted('receipts')) await measureAllReceipts();
if (isWanted('replay')) await measureTheReplay();
if (isWanted('idle')) await measureIdle();
await kafka.close();
finish();

async function measureLine(line: Line): Promise<void> {
  console.log(`\n${line.id}: ${line.title}`);
  for (let round = 0; round < line.rounds; round++) {
    for (const system of line.systems) {
      const baseLoad = line.baseLoad ?? line.load;
      const base = await tryToMeasure(line.base ?? floor, { ...line, load: baseLoad });
      const run = await tryToMeasure(system, line);
      if (base && run) pairs.push({ line, system: system.name, base, run });
    }
  }
}

/** undefined: the run counts for nothing, and what was wrong is noted. */
async function tryToMeasure(system: System, line: Line): Promise<Run | undefined> {
  try {
    const run = await measure(system, line.load, kafkaPid);
    console.log(
      `  ${system.name.padEnd(20)} ${run.cpuSecondsPerMillion.toFixed(2)} CPU-s per million, ${(run.framesPerSecond / 1000).toFixed(0)} thousand frames/s, ${(run.peakBytes / 1024 ** 2).toFixed(0)} MiB`,
    );
    if (run.invalid === undefined) return run;
    noteInvalid(`${line.id}: ${system.name}: ${run.invalid}`);
  } catch (error) {
    noteInvalid(`${line.id}: ${system.name}: ${messageOf(error)}`);
  }
  return undefined;
}

/** Whatever it throws is noted, and the next one goes on. */
async function attempt(what: string, run: () => Promise<void>): Promise<void> {
  await run().catch((error: unknown) => noteInvalid(`${what}: ${messageOf(error)}`));
}

function noteInvalid(text: string): void {
  console.log(`  INVALID ${text}`);
  invalid.push(text);
}

async function measureAllEven(): Promise<void> {
  console.log('\neven');
  const systems = [
    floor,
    kaheToKafka(topics, 'none', 4),
    kaheToKafka(topics, 'snappy', 4),
    ...(lack === undefined ? [rsyslog(topics, 4)] : []),
  ];
  for (const rate of EVEN_RATES) {
    for (let round = 0; round < (values.quick ? 1 : EVEN_ROUNDS); round++)
      for (const system of systems) await measureOneEven(system, rate);
  }
}

async function measureOneEven(system: System, rate: number): Promise<void> {
  await attempt('even', async () => {
    const cost = await measureEven(system, rate);
    console.log(`  ${rate} frames/s: ${cost.name.padEnd(20)} ${cost.percentOfCore.toFixed(1)} % of a core`);
    evenCosts.push(cost);
  });
}

async function measureAllVisits(): Promise<void> {
  console.log('\nvisits');
  const systems = [floor, kaheToTopic(topics), ...(lack === undefined ? [rsyslog(topics, 4)] : [])];
  for (let round = 0; round < (values.quick ? 1 : VISIT_ROUNDS); round++) {
    for (const system of systems) {
      await attempt('visits', async () => {
        const cost = await measureVisits(system);
        console.log(
          `  ${cost.name.padEnd(20)} ${cost.visitsPerSecond === undefined ? '' : `${(cost.visitsPerSecond / 1000).toFixed(1)} thousand connections/s, `}${cost.cpuMicrosecondsEach.toFixed(0)} µs each`,
        );
        visitCosts.push(cost);
      });
    }
  }
}

async function measureAllReceipts(): Promise<void> {
  console.log('\nreceipts');
  for (const sync of ['batch', 'never', 'always', undefined] as const) {
    const name = sync === undefined ? NO_SPOOL : `SPOOL_SYNC=${sync}`;
    // What the target is about is asked longest.
    const seconds = values.quick ? 5 : sync === 'batch' ? 20 : 10;
    await attempt(`receipts: ${name}`, async () => {
      const waits = await measureReceipts(name, kaheToTopic(topics, sync), seconds);
      console.log(
        `  ${name.padEnd(20)} ${waits.questions} questions, p50 ${waits.p50Ms.toFixed(2)} ms, p99 ${waits.p99Ms.toFixed(2)} ms, at most ${waits.maxMs.toFixed(1)} ms, beside ${waits.framesPerSecond.toFixed(0)} frames/s`,
      );
      receipts.push(waits);
    });
  }
}

async function measureTheReplay(): Promise<void> {
  console.log('\nreplay');
  await attempt('replay', async () => {
    replay = await measureReplay(topics, values.quick ? 300_000 : 2_000_000, kafkaPid);
    for (const { frames, seconds, cameInPerSecond } of replay.replays) {
      console.log(
        `  ${frames} frames in ${seconds.toFixed(1)} s, ${(frames / seconds / 1000).toFixed(0)} thousand frames/s, ${(cameInPerSecond / 1000).toFixed(1)} thousand frames/s came in`,
      );
    }
  });
}

async function measureIdle(): Promise<void> {
  console.log('\nidle');
  const kahe = kaheToKafka(topics, 'snappy', 4);
  await attempt('idle', async () => {
    for (const system of [floor, kahe]) idleConnections.push(await measureIdleConnections(system));
    idleDaemon = await measureIdleDaemon(kahe);
  });
}

function finish(): void {
  const results: Results = {
    lines,
    pairs,
    invalid,
    evenCosts,
    visitCosts,
    receipts,
    replay,
    idleConnections,
    idleDaemon,
  };
  const report = renderReport(results, {
    command: ['npx tsx bench/run.ts', ...process.argv.slice(2)].join(' '),
    machine,
    rsyslog:
      lack === undefined
        ? `rsyslog ${rsyslogVersion()}, imptcp and omkafka`
        : `no figures of rsyslog: ${lack}`,
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
