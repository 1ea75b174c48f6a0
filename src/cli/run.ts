// `kahe`: starts the daemon and lives until a signal ends it.
import type { AdminDoor } from '../admin/door.js';
import type { Snapshot } from '../stats/snapshot.js';
import { systemClock } from '../clock.js';
import { loadBuckets } from '../config/buckets.js';
import { loadEnvironment } from '../config/env.js';
import { Daemon, type DaemonParts } from '../daemon/daemon.js';
import { openLog } from '../log/openLog.js';
import type { Log } from '../log/log.js';
import type { BoundSocket } from '../net/boundSocket.js';
import { inheritSockets } from '../net/inherit.js';
import { groupId } from '../net/names.js';
import { bindSocket } from '../net/namedSocket.js';
import { printed } from '../streams/account.js';
import { ServiceManager } from '../systemd/serviceManager.js';
import { statusOf } from '../systemd/status.js';
import type { Statsd } from '../statsd/statsd.js';
import type { Environment } from '../config/env.js';
import { plural } from '../plural.js';
import { Reloads } from '../daemon/reload.js';
import { keepYoungGenerationSmall } from './youngGeneration.js';

const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;
/** systemd hands descriptors over from this number on. */
const FIRST_INHERITED_FD = 3;

/**
 * @param parts others than the real disk, for tests
 * @returns the exit code, once a signal has ended the daemon
 */
export async function run(parts: Pick<DaemonParts, 'fs'> = {}): Promise<number> {
  const source = { cwd: process.cwd(), env: process.env };
  const environment = loadEnvironment(source);
  const buckets = loadBuckets(environment.bucketsFile, source);
  const { log, close: closeLog } = await openLog(environment.logLevel, environment.logFormat, source.env);
  // However it ends: even a second signal, or a start that fails.
  process.once('exit', closeLog);
  for (const warning of [...environment.warnings, ...buckets.warnings]) log.warn(warning);
  if (environment.file === undefined)
    log.info('there is no .env file: what the environment does not set has its default');
  for (const note of buckets.notes) log.info(note);
  // Before the socket is there: from the moment that it answers, a signal drains.
  const end = endOfLife(log);
  const manager = new ServiceManager({ env: process.env, log });
  const tellReady = (): void => manager.ready(() => statusOf(daemon, reloads.figures));
  const reloads = new Reloads({
    environment,
    buckets,
    source,
    log,
    onBegin: () => manager.reloading(),
    onEnd: tellReady,
  });
  // One that comes before the daemon is there is kept until it is.
  process.on('SIGHUP', () => reloads.ask());
  const { socket, admin } = await openBoth(environment, log);
  const daemon = await startDaemon(
    {
      environment,
      buckets,
      socket,
      log,
      reloads: () => reloads.figures,
      ...(admin === undefined ? {} : { admin }),
      ...parts,
    },
    admin,
  );
  admin?.show({ snapshot: () => daemon.snapshot(), taps: daemon.taps });
  const statsd = await openStatsd(environment, () => daemon.snapshot(), log);
  const place = inheritedFds().length > 0 ? 'the socket that systemd holds' : environment.socket.path;
  log.info(
    `kahe ${process.pid} listens on ${place} for ${buckets.buckets.length} ${plural(buckets.buckets.length, 'bucket')}`,
  );
  keepYoungGenerationSmall();
  tellReady();
  reloads.begin((changed) => daemon.reload(changed));
  const { reason, exitCode } = await end;
  reloads.close();
  manager.stopping(`stopping after ${reason}: ${statusOf(daemon)}`);
  log.info(
    `${reason}: no new clients; what they have sent is read, delivered or kept, for up to ${environment.stopTimeoutMs} ms; a second signal ends at once`,
  );
  await daemon.stop();
  report(daemon, log);
  await statsd?.close();
  manager.close();
  // Last: until here it tells how the end goes.
  admin?.close();
  return exitCode;
}

/** A start that fails leaves no socket behind, which would look like a daemon. */
async function startDaemon(parts: DaemonParts, admin: AdminDoor | undefined): Promise<Daemon> {
  try {
    return await Daemon.start(parts);
  } catch (error) {
    parts.socket.unlink();
    admin?.close();
    throw error;
  }
}

/**
 * The admin door is there once the socket answers. When both are taken a daemon is running already, and that
 * is what is said.
 */
async function openBoth(
  environment: Environment,
  log: Log,
): Promise<{ readonly socket: BoundSocket; readonly admin: AdminDoor | undefined }> {
  const [door] = await Promise.allSettled([openAdmin(environment, log)]);
  const admin = door.status === 'fulfilled' ? door.value : undefined;
  try {
    const socket = await openSocket(environment);
    socket.watch(systemClock, log.at('/socket'));
    if (door.status === 'fulfilled') return { socket, admin };
    socket.unlink();
    throw door.reason;
  } catch (error) {
    admin?.close();
    throw error;
  }
}

/** What it is made of is loaded only when it is wanted. */
async function openAdmin({ admin }: Environment, log: Log): Promise<AdminDoor | undefined> {
  if (admin.length === 0) return undefined;
  const { AdminDoor: door } = await import('../admin/door.js');
  return door.open(admin, log.at('/admin'));
}

async function openStatsd(
  { statsd: settings }: Environment,
  snapshot: () => Snapshot,
  log: Log,
): Promise<Statsd | undefined> {
  if (settings === undefined) return undefined;
  const { Statsd: made } = await import('../statsd/statsd.js');
  return new made({ settings, snapshot, clock: systemClock, log: log.at('/statsd') });
}

async function openSocket(environment: Environment): Promise<BoundSocket> {
  const inherited = inheritedFds();
  if (inherited.length > 0) return inheritSockets(inherited);
  const { path, mode, group } = environment.socket;
  return bindSocket({ setting: 'SOCKET', path, mode, groupId: groupId(group) });
}

/** What systemd hands over, if it is for this process. */
function inheritedFds(): number[] {
  const count =
    process.env['LISTEN_PID'] === String(process.pid) ? Number(process.env['LISTEN_FDS'] ?? 0) : 0;
  return Array.from({ length: count || 0 }, (_, index) => FIRST_INHERITED_FD + index);
}

/** A signal, or a fault that nobody caught: then too what is held is delivered or kept before the end. */
function endOfLife(log: Log): Promise<{ reason: string; exitCode: number }> {
  process.on('SIGPIPE', () => undefined);
  return new Promise((resolve) => {
    let seen = 0;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        if (++seen === 1) return resolve({ reason: signal, exitCode: 0 });
        log.warn(`${signal} again: ends at once, frames in memory are not delivered`);
        process.exit(1);
      });
    }
    for (const fault of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(fault, (error: unknown) => {
        log.fatal(
          `${fault}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}; this is a fault in Kahe, please report it`,
        );
        resolve({ reason: 'a fault', exitCode: 1 });
      });
    }
  });
}

/** The account, at the end: every frame that came, by what became of it. */
function report(daemon: Daemon, { unfolded: log }: Log): void {
  const { received, bad } = daemon.socketCounts;
  log.info(`stopped; received ${received} ${plural(received, 'frame')}, ${bad} of them bad`);
  for (const [name, account] of daemon.accounts) log.info(`${name}: ${printed(account)}`);
}
