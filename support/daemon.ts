// The whole daemon as a real process, in a temporary folder of its own. Promise: after the test neither
// process nor folder is left; and a test that stops its daemon in an orderly way also learns whether the
// daemon's own account adds up, and whether it wrote anything but log lines.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parse } from 'dotenv';
import { onTestFailed, onTestFinished } from 'vitest';
import { builtDaemon } from './daemonBuild.js';
import { DaemonClient } from './daemonClient.js';
import { readFiles, type Frame } from './daemonFrames.js';

export { DaemonClient } from './daemonClient.js';
export * from './daemonFrames.js';

const DEADLINE_MS = 75_000;
const POLL_MS = 10;
const SHOWN_LINES = 40;

export interface DaemonOptions {
  /** buckets.json: its text, or what it holds. */
  readonly buckets: string | object;
  /** Real environment variables; PATH comes by itself, and SOCKET is kahe.sock in the folder. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Where it runs: a folder of daemonFolder(), to start again where another daemon was. Default: a new one.
   */
  readonly folder?: string;
  /** The text of .env.dev.local. Default: an empty file. */
  readonly envFile?: string;
  /** The limit of open files (ulimit -n). Default: that of this process. */
  readonly openFiles?: number;
  /** What runs it: a command with its arguments, such as one that sets limits. */
  readonly under?: readonly string[];
  /** Arguments of Node: another program than the daemon's own, which gets the built main.js as KAHE_MAIN. */
  readonly program?: readonly string[];
}

export interface Exit {
  /** null: a signal killed it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** From the signal to the end. */
  readonly ms: number;
}

/** What became of the frames of one bucket in one stream, as the daemon says when it ends. */
export type StreamAccount = Readonly<
  Record<'received' | 'delivered' | 'queued' | 'backedUp' | 'slicedOut' | 'rejected' | 'discarded', number>
>;

/** A folder that is gone after the test. */
export async function daemonFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kahe-daemon-'));
  folders.add(folder);
  onTestFinished(async () => {
    await rm(folder, { recursive: true, force: true });
    folders.delete(folder);
  });
  return folder;
}

/**
 * Resolves when the daemon's socket answers, and its admin door, if it has one, says more than `starting`.
 * @throws Error with its output when it ends instead
 */
export async function startDaemon(options: DaemonOptions): Promise<TestDaemon> {
  const daemon = await launchDaemon(options);
  await daemon.answers();
  const settings = { ...options.env, ...parse(options.envFile ?? '') };
  if (settings['ADMIN'] && !settings['LOG_LEVEL']) await daemon.line(/ listens on /);
  return daemon;
}

/** Starts the process and waits for nothing: for starts that should fail. */
export async function launchDaemon(options: DaemonOptions): Promise<TestDaemon> {
  const folder = options.folder ?? (await daemonFolder());
  const { buckets, envFile = '' } = options;
  await writeFile(
    path.join(folder, 'buckets.json'),
    typeof buckets === 'string' ? buckets : JSON.stringify(buckets),
  );
  await writeFile(path.join(folder, `.env.${options.env?.['environment'] ?? 'dev'}.local`), envFile);
  return spawnDaemon(folder, options.env, options);
}

/** As launchDaemon, in a folder as it is. */
export async function spawnDaemon(
  folder: string,
  env: Readonly<Record<string, string>> = {},
  { openFiles, under = [], program }: Pick<DaemonOptions, 'openFiles' | 'under' | 'program'> = {},
): Promise<TestDaemon> {
  const limit = openFiles === undefined ? [] : ['sh', '-c', 'ulimit -n "$0" && exec "$@"', String(openFiles)];
  const main = await builtDaemon();
  const [command, ...args] = [
    ...dieWithParent(),
    ...limit,
    ...under,
    process.execPath,
    ...(program ?? [main]),
  ] as [string, ...string[]];
  const socketPath = path.resolve(folder, env['SOCKET'] ?? 'kahe.sock');
  const child = spawn(command, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], SOCKET: socketPath, KAHE_MAIN: main, ...env },
  });
  const daemon = new TestDaemon(child, folder, socketPath);
  running.add(child);
  child.once('exit', () => running.delete(child));
  onTestFailed(() =>
    console.error(`the daemon's last lines:\n${daemon.lines.slice(-SHOWN_LINES).join('\n')}`),
  );
  onTestFinished(() => daemon.kill9());
  return daemon;
}

export class TestDaemon {
  readonly folder: string;
  readonly socketPath: string;
  readonly pid: number;
  /** Everything that it wrote, line by line. */
  readonly lines: string[] = [];
  readonly exited: Promise<Omit<Exit, 'ms'>>;
  readonly #child: ChildProcess;
  #isRunning = true;

  /** Use startDaemon. */
  constructor(child: ChildProcess, folder: string, socketPath: string) {
    this.#child = child;
    this.folder = folder;
    this.socketPath = socketPath;
    this.pid = child.pid!;
    for (const output of [child.stdout!, child.stderr!]) this.#listen(output);
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#isRunning = false;
        resolve({ code, signal });
      });
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  async connect(options: { readonly isDeaf?: boolean } = {}): Promise<DaemonClient> {
    const client = await DaemonClient.connect(this.socketPath, options);
    onTestFinished(() => client.destroy());
    return client;
  }

  /** Resolves when something accepts on the socket. */
  async answers(): Promise<void> {
    await this.until(`an answer on ${this.socketPath}`, async () => {
      const probe = await DaemonClient.connect(this.socketPath).catch(() => undefined);
      probe?.destroy();
      return probe !== undefined;
    });
  }

  /**
   * The first log line that fits, of those there are and those to come; `from`: not before the line with this
   * index.
   */
  async line(pattern: RegExp, { from = 0, deadlineMs = DEADLINE_MS } = {}): Promise<string> {
    return this.until(
      `a log line like ${String(pattern)}`,
      () => this.lines.slice(from).find((line) => pattern.test(line)),
      deadlineMs,
    );
  }

  linesLike(pattern: RegExp): string[] {
    return this.lines.filter((line) => pattern.test(line));
  }

  /** How often it said such a line, those included that it has folded into a count. */
  timesSaid(pattern: RegExp): number {
    return this.linesLike(pattern).reduce(
      (sum, line) => sum + Number(/… and (\d+) more like this/.exec(line)?.[1] ?? 1),
      0,
    );
  }

  /**
   * Asks until the answer is neither false nor undefined.
   * @throws Error at the deadline, or when the daemon ends meanwhile
   */
  async until<T>(
    what: string,
    ask: () => T | Promise<T>,
    deadlineMs = DEADLINE_MS,
  ): Promise<Exclude<T, false | undefined>> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      const isLast = !this.#isRunning;
      const answer = await ask();
      if (answer !== false && answer !== undefined) return answer as Exclude<T, false | undefined>;
      if (isLast)
        throw new Error(
          `the daemon has ended, and there was never ${what}:\n${this.lines.slice(-SHOWN_LINES).join('\n')}`,
        );
      if (Date.now() > deadline)
        throw new Error(
          `after ${deadlineMs} ms there is not ${what}:\n${this.lines.slice(-SHOWN_LINES).join('\n')}`,
        );
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it in an orderly way, and checks what it says then. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    const started = Date.now();
    this.signal(signal);
    const exit = { ...(await this.exited), ms: Date.now() - started };
    this.#checkLog();
    this.#checkAccounts();
    return exit;
  }

  /** Resolves when it is gone. Harmless when it is gone already. */
  async kill9(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  /**
   * The frames of all .bckstm files below `name` in its folder, files in the order in which they were made.
   */
  files(name: string): Promise<Frame[]> {
    return readFiles(path.join(this.folder, name));
  }

  /** Resolves when so many frames, or more, are in the files below `name`. */
  async untilFiled(name: string, frames: number): Promise<void> {
    // One that is just being written may be torn.
    await this.until(
      `${frames} frames below ${name}`,
      async () => (await this.files(name).catch(() => [])).length >= frames,
    );
  }

  /** By `bucket/stream`; only after an orderly end. */
  get accounts(): Map<string, StreamAccount> {
    const found = this.lines
      .map((line) => /^INFO \| [^|]+ \| (.+): (received \d+, .*)$/.exec(line))
      .filter((match) => match !== null);
    return new Map(found.map(([, name, counts]) => [name!, accountOf(counts!)]));
  }

  /** What it says at its end of the frames that came over the socket. */
  get received(): { readonly frames: number; readonly bad: number } {
    const [, frames, bad] =
      this.lines
        .map((line) => /stopped; received (\d+) frames?, (\d+) of them bad/.exec(line))
        .find((match) => match !== null) ?? [];
    return { frames: Number(frames), bad: Number(bad) };
  }

  /** Of all its threads, user and system. */
  get cpuSeconds(): number {
    const fields = this.#proc('stat')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  get rssBytes(): number {
    return this.#statusKb('VmRSS') * 1024;
  }

  /** The most it ever had. */
  get peakRssBytes(): number {
    return this.#statusKb('VmHWM') * 1024;
  }

  /** All that it has read until now, from files and sockets. */
  get readBytes(): number {
    return Number(/^rchar: (\d+)/m.exec(this.#proc('io'))?.[1]);
  }

  /** Files, sockets and pipes that it has open now. */
  get openFiles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  #statusKb(name: string): number {
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(this.#proc('status'))?.[1]);
  }

  #proc(name: string): string {
    return readFileSync(`/proc/${this.pid}/${name}`, 'utf8');
  }

  #listen(output: NodeJS.ReadableStream): void {
    let rest = '';
    output.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      this.lines.push(...lines);
    });
    output.on('end', () => rest !== '' && this.lines.push(rest));
  }

  /** Nothing but log lines: no stack trace, no warning of Node's. */
  #checkLog(): void {
    const strange = this.lines.filter((line) => !LOG_LINE.test(line));
    if (strange.length > 0) throw new Error(`the daemon wrote what is no log line:\n${strange.join('\n')}`);
  }

  #checkAccounts(): void {
    for (const [name, { received, ...fates }] of this.accounts) {
      const sum = Object.values(fates).reduce((a, b) => a + b, 0);
      if (sum !== received)
        throw new Error(
          `the account of ${name} does not add up: ${received} received, ${JSON.stringify(fates)}`,
        );
    }
  }
}

export const LOG_LINE =
  /^(TRACE|DEBUG|INFO|WARN|ERROR|FATAL) \| \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| .+$/;

/** USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

function accountOf(counts: string): StreamAccount {
  return Object.fromEntries(
    counts.split(', ').map((count) => {
      const [name, frames] = count.split(' ') as [string, string];
      return [name, Number(frames)];
    }),
  ) as StreamAccount;
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Linux's setpriv can ask the kernel to kill the daemon when we die without a word. */
function dieWithParent(): string[] {
  deathSignal ??=
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0
      ? ['setpriv', '--pdeathsig', 'KILL']
      : [];
  return deathSignal;
}
let deathSignal: string[] | undefined;
