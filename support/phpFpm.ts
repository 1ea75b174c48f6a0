// A real php-fpm in a temporary folder, with a pool of its own, and requests to it over FastCGI as a web
// server makes them. It keeps this promise: whatever it started is gone after close(), and nothing else is
// touched.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm, writeFile, appendFile, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const FPM_NAMES = ['php-fpm8.2', 'php-fpm8.3', 'php-fpm8.4', 'php-fpm'];
const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 15_000;

export interface PhpResponse {
  readonly status: number;
  /** Names in lower case; of a repeated header, the last. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface PhpFpmOptions {
  /** How many requests run at the same time; default 4. */
  readonly workers?: number;
  /** More lines of php.ini, as `{ memory_limit: '32M' }`. */
  readonly ini?: Readonly<Record<string, string>>;
}

/** php-fpm, running. Requests beyond `workers` wait their turn in its queue. */
export class PhpFpm {
  readonly folder: string;
  readonly #binary: string;
  readonly #cgiClient: string;
  readonly #socket: string;
  #process: ChildProcess | undefined;
  readonly #killAtExit = (): void => void this.#process?.kill('SIGKILL');

  private constructor(folder: string, binary: string, cgiClient: string) {
    this.folder = folder;
    this.#binary = binary;
    this.#cgiClient = cgiClient;
    this.#socket = join(folder, 'fpm.sock');
  }

  /**
   * Resolves when it takes requests. Throws when php-fpm or cgi-fcgi is not installed, or with its log when
   * it does not start.
   */
  static async start({ workers = 4, ini = {} }: PhpFpmOptions = {}): Promise<PhpFpm> {
    const binary = findProgram(FPM_NAMES);
    const cgiClient = findProgram(['cgi-fcgi']);
    const fpm = new PhpFpm(await mkdtemp(join(tmpdir(), 'kahe-fpm-')), binary, cgiClient);
    try {
      await fpm.#launch(workers, ini);
    } catch (error) {
      await fpm.close();
      throw error;
    }
    return fpm;
  }

  /** GETs a script, named by its absolute path, with `params` as its query string. */
  async request(
    script: string,
    params: Readonly<Record<string, string | number>> = {},
  ): Promise<PhpResponse> {
    const query = new URLSearchParams(
      Object.entries(params).map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    const client = spawn(this.#cgiClient, ['-bind', '-connect', this.#socket], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // cgi-fcgi hands its whole environment to the script: nothing of ours belongs there.
      env: {
        GATEWAY_INTERFACE: 'CGI/1.1',
        SERVER_PROTOCOL: 'HTTP/1.1',
        REQUEST_METHOD: 'GET',
        SCRIPT_FILENAME: script,
        SCRIPT_NAME: script,
        REQUEST_URI: `${script}?${query}`,
        QUERY_STRING: query,
      },
    });
    const [output, errors] = await Promise.all([
      text(client.stdout),
      text(client.stderr),
      once(client, 'close'),
    ]);
    return parseResponse(output, errors);
  }

  /** What php-fpm and the scripts logged. */
  async log(): Promise<string> {
    return readFile(join(this.folder, 'fpm.log'), 'utf8').catch(() => '');
  }

  /** Ends php-fpm and its workers, in mid-request too, and removes the folder. */
  async close(): Promise<void> {
    process.off('exit', this.#killAtExit);
    if (this.#process !== undefined && isRunning(this.#process)) {
      const ended = once(this.#process, 'exit');
      this.#process.kill('SIGTERM');
      const timer = setTimeout(this.#killAtExit, STOP_DEADLINE_MS);
      await ended;
      clearTimeout(timer);
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #launch(workers: number, ini: Readonly<Record<string, string>>): Promise<void> {
    const config = join(this.folder, 'fpm.conf');
    await writeFile(config, poolConfig(this.folder, this.#socket, workers, ini));
    const args = ['--nodaemonize', '--fpm-config', config, ...(isRoot() ? ['--allow-to-run-as-root'] : [])];
    const child = spawn(this.#binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    process.once('exit', this.#killAtExit);
    // What it says before its own log is open.
    child.stderr.on(
      'data',
      (said: Buffer) => void appendFile(join(this.folder, 'fpm.log'), said).catch(() => undefined),
    );
    await once(child, 'spawn');
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!(await canConnect(this.#socket))) {
      if (!isRunning(child) || Date.now() > deadline) {
        throw new Error(`${this.#binary} did not start:\n${await this.log()}`);
      }
      await sleep(20);
    }
  }
}

function poolConfig(
  folder: string,
  socket: string,
  workers: number,
  ini: Readonly<Record<string, string>>,
): string {
  return [
    '[global]',
    `error_log = ${join(folder, 'fpm.log')}`,
    '[kahe]',
    ...(isRoot() ? ['user = root', 'group = root'] : []),
    `listen = ${socket}`,
    'listen.backlog = 1024',
    'pm = static',
    `pm.max_children = ${workers}`,
    'catch_workers_output = yes',
    'decorate_workers_output = no',
    `php_admin_value[error_log] = ${join(folder, 'php.log')}`,
    'php_admin_flag[display_errors] = off',
    ...Object.entries(ini).map(([name, value]) => `php_admin_value[${name}] = ${value}`),
    '',
  ].join('\n');
}

/** A CGI response: header lines, an empty line, the body. Without a Status line it is 200. */
function parseResponse(output: string, errors: string): PhpResponse {
  const end = output.indexOf('\r\n\r\n');
  if (end < 0) {
    throw new Error(`php-fpm gave no response. It said: ${errors || output || 'nothing'}`);
  }
  const headers: Record<string, string> = {};
  for (const line of output.slice(0, end).split('\r\n')) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number.parseInt(headers['status'] ?? '200', 10), headers, body: output.slice(end + 4) };
}

function findProgram(names: readonly string[]): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const paths = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = paths.find(isExecutable);
  if (found === undefined) {
    throw new Error(
      `${names.join(', ')} not found: the PHP-FPM tests need \`apt-get install php-fpm libfcgi-bin\`.`,
    );
  }
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
