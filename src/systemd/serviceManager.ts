// Tells systemd how the daemon is: ready, its status in a sentence, alive (watchdog), stopping. Promise:
// without NOTIFY_SOCKET nothing happens, and whatever goes wrong here is one warning and never the daemon's
// end.
//
// Node has no Unix datagram sockets, so systemd-notify sends. A shell, started once, starts it for each
// message: forking a process with hundreds of MB stops its event loop for 10 ms, forking the shell takes none
// of its time.
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Clock, systemClock, type Timer } from '../clock.js';
import type { Log } from '../log/log.js';

export interface ServiceManagerParts {
  /** NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID and PATH are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly clock?: Clock;
}

/**
 * A line is one message, its assignments divided by tabs. Ends with the daemon, whose end of the pipe is gone
 * then; signals are the daemon's.
 */
const SENDER = [
  "trap '' HUP INT QUIT TERM",
  "tab=$(printf '\\t')",
  'set -f',
  'while IFS= read -r line; do IFS=$tab',
  'systemd-notify $line >/dev/null || echo "systemd-notify ended with exit code $?" >&2',
  'done',
].join('; ');
/** A text that changed is sent so often at most. */
const STATUS_MS = 30_000;
const LONGEST_STATUS = 1000;
/** Node's timers can't wait longer. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class ServiceManager {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #sender: ChildProcess | undefined;
  /** Half of what systemd waits for; undefined: it doesn't watch. */
  readonly #watchdogMs: number | undefined;
  #timers: Timer[] = [];
  #status = '';
  #hasWarned = false;

  constructor({ env, log, clock = systemClock }: ServiceManagerParts) {
    this.#log = log;
    this.#clock = clock;
    this.#watchdogMs = watchdogMs(env);
    this.#sender = (env['NOTIFY_SOCKET'] ?? '') === '' ? undefined : this.#startSender(env);
  }

  /**
   * The daemon takes frames: from here on it is watched. The event loop that feeds the watchdog is the one
   * that reads and sends: if it stands still, systemd starts another daemon.
   * @param status what `systemctl status` shows, asked for now and then
   */
  ready(status: () => string): void {
    if (this.#sender === undefined) return;
    this.#stopTimers();
    this.#send('READY=1', this.#newStatus(status()));
    this.#timers.push(this.#clock.every(STATUS_MS, () => this.#send(this.#newStatus(status()))));
    if (this.#watchdogMs !== undefined)
      this.#timers.push(this.#clock.every(this.#watchdogMs, () => this.#send('WATCHDOG=1')));
  }

  /**
   * The configuration is read anew; `ready` follows. The watchdog is fed meanwhile: it may take some seconds.
   */
  reloading(): void {
    this.#send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  /** Draining has begun. The watchdog is fed until the end: draining is work, too. */
  stopping(status: string): void {
    this.#send('STOPPING=1', this.#newStatus(status));
  }

  /** Nothing more is said. What was said before is still sent. */
  close(): void {
    this.#stopTimers();
    this.#sender?.stdin?.end();
  }

  #stopTimers(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel();
  }

  /** '' when it is the one that was sent last. */
  #newStatus(text: string): string {
    const status = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, LONGEST_STATUS);
    if (status === this.#status) return '';
    this.#status = status;
    return `STATUS=${status}`;
  }

  #send(...assignments: readonly string[]): void {
    const said = assignments.filter((assignment) => assignment !== '');
    if (said.length > 0 && this.#sender?.stdin?.writable === true)
      this.#sender.stdin.write(`${said.join('\t')}\n`);
  }

  #startSender(env: ServiceManagerParts['env']): ChildProcess {
    const sender = spawn('/bin/sh', ['-c', SENDER], { env, stdio: ['pipe', 'ignore', 'pipe'] });
    sender.on('error', (error) => this.#warn(error.message));
    // Not 'exit': what it said before it ended, which says why, may come after that.
    sender.on(
      'close',
      (code, signal) =>
        code !== 0 && this.#warn(`its sender was ended by ${signal ?? `exit code ${String(code)}`}`),
    );
    // It has ended, and says itself why.
    sender.stdin.on('error', () => undefined);
    // A shell may write a line in pieces.
    createInterface({ input: sender.stderr }).on('line', (line) => this.#warn(line.trim()));
    // The daemon's end doesn't wait for it.
    sender.unref();
    return sender;
  }

  #warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#log.warn(
      `systemd can't be told how the daemon is: ${reason}; the daemon goes on, but systemd may take it for dead; install systemd-notify, and give the unit NotifyAccess=all`,
      { reason },
    );
  }
}

function watchdogMs(env: ServiceManagerParts['env']): number | undefined {
  const { WATCHDOG_USEC: usec = '', WATCHDOG_PID: pid = '' } = env;
  if (!/^[1-9]\d*$/.test(usec) || (pid !== '' && pid !== String(process.pid))) return undefined;
  return Math.min(Math.max(1, Number(usec) / 2000), LONGEST_TIMER_MS);
}
