// `kahe replay FILE…`: sends the frames of .bckstm files, through the running daemon or straight to a stream,
// and goes on where it was stopped.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { keyOf } from '../frames/bucketName.js';
import { type Clock, systemClock } from '../clock.js';
import { didYouMean } from '../config/didYouMean.js';
import { loadBuckets } from '../config/buckets.js';
import { type Environment, loadEnvironment } from '../config/env.js';
import { ConfigError } from '../errors.js';
import { Log } from '../log/log.js';
import { isAnswering } from '../net/answer.js';
import { plural } from '../plural.js';
import { type Command, type CommandLine, UsageError } from './command.js';
import { SOCKET_OPTION, daemonPlace } from './daemonPlace.js';
import type { Io } from './io.js';
import { outcomeLine, refusedIn } from './outcomes.js';
import { Progress } from './progress.js';
import { type Configured, DaemonsOwn, configuredHere } from './replay/daemonsOwn.js';
import { type FileReplayOptions, replayFile } from './replay/fileReplay.js';
import { type InputFile, inputFiles } from './replay/files.js';
import { Pace } from './replay/pace.js';
import { removeReplayed } from './replay/removal.js';
import { SocketTarget } from './replay/socketTarget.js';
import { StopSignal } from './replay/stopSignal.js';
import { StreamTarget } from './replay/streamTarget.js';
import type { Target } from './replay/target.js';
import { durationText, framesText } from './units.js';

export const replayCommand: Command = {
  name: 'replay',
  summary: 'sends the frames of .bckstm files, and goes on where it was stopped',
  operands: 'FILE|FOLDER...',
  options: {
    socket: SOCKET_OPTION,
    stream: { value: 'ID', help: 'straight to this stream of buckets.json, without a daemon' },
    bucket: {
      value: 'NAME',
      isRepeatable: true,
      help: 'only frames of this bucket; may be given several times',
    },
    rate: { value: 'N', help: 'at most so many frames a second, as 500 or 2k' },
    'dry-run': { help: 'reads and counts everything, says what it would do, and sends nothing' },
    again: { help: 'sends from the start, whatever an earlier run has noted' },
    remove: { help: 'removes a file once everything in it is delivered, or kept elsewhere' },
    wait: {
      value: 'SECONDS',
      help: 'how long it waits at the end for the delivery of what is safe; 5 without it',
    },
    notes: {
      value: 'DIR',
      help: 'the folder for the notes of how far each file was sent; without it they stand beside the files',
    },
    timeout: { value: 'SECONDS', help: 'gives up after so long without progress; 60 without it' },
    force: { help: 'also sends files that the running daemon sends by itself' },
  },
  examples: [
    'kahe replay backup/requests/1700000000.bckstm',
    'kahe replay --stream kafka --rate 2k --remove backup/requests',
  ],
  exitCodes: {
    0: 'everything that was asked for is safe, and none was rejected',
    1: 'it was stopped or gave up, or something could not be sent, or was rejected or discarded; the same command goes on',
    2: 'a wrong command line',
  },
  outlivesReader: true,
  run: replay,
};

const DEFAULT_TIMEOUT_S = 60;
const DEFAULT_WAIT_S = 5;

async function replay(line: CommandLine, io: Io): Promise<number> {
  const settings = settingsOf(line);
  const files = inputFiles(line.operands);
  if (files.length === 0) await io.out.write('no .bckstm files there: nothing to send\n');
  const progress = new Progress({
    io,
    clock: systemClock,
    totalBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  });
  const configured = configuredHere(io);
  const allowed = await withoutDaemonsOwn(files, settings, configured, progress);
  const target = targetFor(line, io, progress, systemClock);
  const stop = new StopSignal();
  const forget = io.onStop((signal) => {
    progress.say(`${signal}: it stops once what is on its way is safe; a second signal ends at once`);
    stop.stop();
  });
  try {
    if (!settings.isDry && files.length > 0) await target.open();
    const isDone = await replayAll(allowed, progress, {
      ...settings,
      isAgainRejected: areRejected(files, configured),
      choice: { buckets: settings.buckets, maxFrameBytes: target.maxFrameBytes },
      target,
      progress,
      stop,
      clock: systemClock,
    });
    return isDone && allowed.length === files.length ? 0 : 1;
  } finally {
    forget();
    progress.end();
    await target.close();
  }
}

type Settings = ReturnType<typeof settingsOf>;

function settingsOf(line: CommandLine) {
  if (line.operands.length === 0)
    throw new UsageError('name one file or folder or more, as: kahe replay backup/requests');
  if (line.has('socket') && line.has('stream'))
    throw new UsageError(
      '--socket and --stream exclude each other: through the daemon, or straight to the stream',
    );
  const names = line.has('bucket') ? [...new Set(line.texts('bucket'))].sort() : null;
  const notes = line.text('notes');
  return {
    bucketNames: names,
    buckets: names === null ? undefined : new Set(names.map(keyOf)),
    notesFolder: notes === undefined ? undefined : resolve(notes),
    isAgain: line.has('again'),
    isDry: line.has('dry-run'),
    isRemoving: line.has('remove'),
    isForced: line.has('force'),
    pace: new Pace(line.number('rate'), systemClock),
    timeoutMs: (line.number('timeout') ?? DEFAULT_TIMEOUT_S) * 1000,
    waitMs: (line.text('wait') === '0' ? 0 : (line.number('wait') ?? DEFAULT_WAIT_S)) * 1000,
  };
}

/**
 * Says which files the daemon sends itself; those are left out, unless it does not run, or --force was given.
 */
async function withoutDaemonsOwn(
  files: readonly InputFile[],
  { isForced }: Settings,
  configured: Configured,
  progress: Progress,
): Promise<readonly InputFile[]> {
  const own = new DaemonsOwn(configured);
  const reasons = new Map(
    files.flatMap((file) => {
      const reason = own.reason(file.path);
      return reason === undefined ? [] : [[file, reason] as const];
    }),
  );
  if (reasons.size === 0) return files;
  const isRunning = await isAnswering(configured.environment!.socket.path);
  for (const [{ path }, reason] of reasons) {
    if (!isRunning)
      progress.say(
        `${path}: ${reason}: a daemon that is started here sends it too, so move it away, or use --remove`,
      );
    else
      progress.say(
        `${path}: ${reason}: the running daemon sends it itself${isForced ? '' : '; it is left out here, --force sends it all the same, and then it may arrive twice'}`,
      );
  }
  return isRunning && !isForced ? files.filter((file) => !reasons.has(file)) : files;
}

/** @returns is everything safe? */
async function replayAll(
  files: readonly InputFile[],
  progress: Progress,
  options: FileReplayOptions & Settings & { readonly isAgainRejected: boolean },
): Promise<boolean> {
  const startMs = options.clock.now();
  let isDone = true;
  let frames = 0;
  for (const file of files) {
    if (options.stop.hasStopped()) break;
    try {
      const outcome = await replayFile(file, options);
      frames += outcome.frames;
      if (!outcome.isWhole) isDone = false;
      if (options.isRemoving && !options.isDry && !options.stop.hasStopped())
        await remove(file, outcome, options);
    } catch (error) {
      progress.say(`kahe replay: ${file.path}: ${(error as Error).message}`);
      isDone = false;
      // What comes behind it would fail for the same reason, or overtake it.
      break;
    }
  }
  if (options.isDry) {
    progress.tell(`${framesText(frames)} would be sent; nothing was`);
    return isDone;
  }
  return (
    (await tellOutcome(progress, options, options.clock.now() - startMs)) &&
    isDone &&
    !options.stop.hasStopped()
  );
}

/** @returns was none rejected or discarded? */
async function tellOutcome(
  progress: Progress,
  {
    target,
    stop,
    waitMs,
    isAgainRejected,
  }: FileReplayOptions & Settings & { readonly isAgainRejected: boolean },
  tookMs: number,
): Promise<boolean> {
  const report = progress.frames === 0 ? undefined : await target.outcome(stop.hasStopped() ? 0 : waitMs);
  const what =
    report === undefined
      ? `${framesText(progress.frames)} ${plural(progress.frames, 'is', 'are')} safe`
      : outcomeLine(report, isAgainRejected ? 'rejected again' : 'rejected');
  progress.tell(
    `${what}, in ${durationText(tookMs)}${stop.hasStopped() ? '; stopped: the same command goes on' : ''}`,
  );
  return target.discarded === 0 && (report === undefined || refusedIn(report) === 0);
}

/** Are these the files that the daemon here keeps rejected frames in? */
function areRejected(files: readonly InputFile[], { environment }: Configured): boolean {
  const folder = environment?.rejected.path;
  if (folder === undefined || !existsSync(folder)) return false;
  return files.some(({ path }) => dirname(realpathSync(path)) === realpathSync(folder));
}

async function remove(
  file: InputFile,
  { mayGo, noteKeeper, bytes }: Awaited<ReturnType<typeof replayFile>>,
  { progress }: FileReplayOptions,
): Promise<void> {
  if (!mayGo) {
    progress.say(`${file.path}: not removed, because not everything in it is delivered or kept elsewhere`);
    return;
  }
  // A link is the operator's; what it leads to was sent.
  const path = realpathSync(file.path);
  const left = removeReplayed(path, bytes);
  if (left === 'grown') {
    progress.say(
      `${file.path}: not removed, because it has grown while it was replayed; the same command goes on behind what was sent`,
    );
    return;
  }
  if (left !== undefined) progress.say(`${file.path}: it grew while it was removed; what came is in ${left}`);
  await noteKeeper.remove();
}

function targetFor(line: CommandLine, io: Io, progress: Progress, clock: Clock): Target {
  const id = line.text('stream');
  if (id === undefined) {
    const { path, maxFrameBytes } = daemonPlace(line, io);
    return new SocketTarget(path, maxFrameBytes, clock);
  }
  const environment = loadEnvironment({ cwd: io.cwd, env: io.env });
  return streamTarget(id, environment, io, progress, clock);
}

function streamTarget(
  id: string,
  environment: Environment,
  io: Io,
  progress: Progress,
  clock: Clock,
): Target {
  const { streamsConfigs } = loadBuckets(environment.bucketsFile, io);
  const config = streamsConfigs[id];
  if (config === undefined)
    throw new ConfigError(
      `${environment.bucketsFile}: no stream ${JSON.stringify(id)} in streamsConfigs${didYouMean(id, Object.keys(streamsConfigs))}`,
    );
  const log = new Log(environment.logLevel, (text) => progress.say(text.trimEnd()));
  return new StreamTarget({ config, environment, log, clock, say: (text) => progress.say(text) });
}
