// The daemon of the demo, as built in dist/, in a folder of its own, and commands beside it; log lines that a
// person would look at are shown as they come.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Tests name another build. */
const MAIN = process.env['KAHE_MAIN'] ?? path.resolve(import.meta.dirname, '../../dist/main.js');
const DEADLINE_MS = 90_000;
const POLL_MS = 50;

export class DemoDaemon {
  readonly socket: string;
  readonly page: string;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #process: ChildProcess | undefined;
  readonly #lines: string[] = [];

  constructor(folder: string, adminPort: number) {
    this.#folder = folder;
    this.#env = { ...process.env, environment: 'demo', ADMIN: `127.0.0.1:${adminPort}`, LOG_FORMAT: 'text' };
    this.page = `http://127.0.0.1:${adminPort}/`;
    this.socket = path.join(folder, 'kahe.sock');
  }

  async start(buckets: object): Promise<void> {
    writeFileSync(path.join(this.#folder, '.env.demo.local'), 'SOCKET=./kahe.sock\n');
    writeFileSync(path.join(this.#folder, 'buckets.json'), JSON.stringify(buckets, undefined, 2));
    const daemon = spawn(process.execPath, [MAIN], {
      cwd: this.#folder,
      env: this.#env,
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    this.#process = daemon;
    process.once('exit', () => daemon.kill('SIGKILL'));
    createInterface(daemon.stderr).on('line', (line) => this.#onLine(line));
    await this.waitForLines(/ listens on /, 1);
  }

  /** Resolves when so many lines of the log match. */
  async waitForLines(pattern: RegExp, count: number): Promise<void> {
    const untilMs = Date.now() + DEADLINE_MS;
    while (this.#lines.filter((line) => pattern.test(line)).length < count) {
      if (this.#process?.exitCode !== null)
        throw new Error(`the daemon has ended:\n${this.#lines.join('\n')}`);
      if (Date.now() > untilMs)
        throw new Error(`the daemon's log does not say ${String(pattern)}:\n${this.#lines.join('\n')}`);
      await sleep(POLL_MS);
    }
  }

  /** Resolves to the lines that a command prints. @throws Error unless its exit code is 0 */
  async command(...args: readonly string[]): Promise<readonly string[]> {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [MAIN, ...args], {
      cwd: this.#folder,
      env: this.#env,
    });
    return `${stderr}${stdout}`.trimEnd().split('\n');
  }

  /** SIGTERM; resolves to the lines of its closing account. */
  async stop(): Promise<readonly string[]> {
    const daemon = this.#process!;
    daemon.kill('SIGTERM');
    if (daemon.exitCode === null) await once(daemon, 'close');
    return this.#lines
      .slice(this.#lines.findIndex((line) => line.includes('| stopped;')))
      .map((line) => line.split(' | ')[2] ?? line);
  }

  #onLine(line: string): void {
    this.#lines.push(line);
    if (/^(WARN|ERROR|FATAL) | switched to | delivery stopped/.test(line)) console.log(`   ${line}`);
  }
}
