// `kahe`: starts the daemon and lives until a signal ends it.
import { type BucketsConfig, loadBuckets } from '../config/buckets.js';
import { type Environment, loadEnvironment } from '../config/env.js';
import { Daemon, type DaemonParts } from './daemon.js';
import { SocketDoor } from '../doors/socket/socketDoor.js';
import { openLog } from '../log/openLog.js';
import type { Log } from '../log/log.js';
import { printed } from '../streams/account.js';
import { ServiceManager } from '../systemd/serviceManager.js';
import { statusOf } from '../systemd/status.js';
import { plural } from '../plural.js';
import { Reloads } from './reload.js';
import { endOfLife } from './endOfLife.js';
import { inheritedFds, openBoth, openStatsd } from './openings.js';
import { keepYoungGenerationSmall } from './youngGeneration.js';

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
  sayWhatWasRead(environment, buckets, log);
  // Before the socket is there: from the moment that it answers, a signal drains.
  const end = endOfLife(log);
  const manager = new ServiceManager({ env: process.env, log });
  const tellReady = (): void => manager.ready(() => statusOf(daemon, reloads.figures));
  const onBegin = (): void => manager.reloading();
  const reloads = new Reloads({ environment, buckets, source, log, onBegin, onEnd: tellReady });
  // One that comes before the daemon is there is kept until it is.
  process.on('SIGHUP', () => reloads.ask());
  const { socket, admin } = await openBoth(environment, log);
  const shown = { reloads: () => reloads.figures, ...(admin === undefined ? {} : { admin }) };
  const doors = [new SocketDoor({ socket, maxFrameBytes: environment.maxFrameBytes })];
  const daemon = await startDaemon({ environment, buckets, doors, log, ...shown, ...parts }, () => {
    socket.unlink();
    admin?.close();
  });
  admin?.show({ snapshot: () => daemon.snapshot(), taps: daemon.taps });
  const statsd = await openStatsd(environment, () => daemon.snapshot(), log);
  const place = inheritedFds().length > 0 ? 'the socket that systemd holds' : environment.socket.path;
  const count = buckets.buckets.length;
  log.info(`kahe ${process.pid} listens on ${place} for ${count} ${plural(count, 'bucket')}`, {
    address: place,
    buckets: count,
  });
  keepYoungGenerationSmall();
  tellReady();
  reloads.begin((changed) => daemon.reload(changed));
  const { reason, exitCode } = await end;
  reloads.close();
  manager.stopping(`stopping after ${reason}: ${statusOf(daemon)}`);
  const timeoutMs = environment.stopTimeoutMs;
  log.info(
    `${reason}: no new clients; frames that were sent are read, then delivered or kept, for up to ${timeoutMs / 1000} s; a second signal ends at once`,
    { reason, timeoutMs },
  );
  await daemon.stop();
  report(daemon, log);
  await statsd?.close();
  manager.close();
  // Last: until here it tells how the end goes.
  admin?.close();
  return exitCode;
}

function sayWhatWasRead(environment: Environment, buckets: BucketsConfig, log: Log): void {
  for (const warning of [...environment.warnings, ...buckets.warnings]) log.warn(warning);
  if (environment.file === undefined)
    log.info('there is no .env file: settings that the environment does not name have their defaults');
  for (const note of buckets.notes) log.info(note);
}

/** A start that fails leaves no socket behind, which would look like a daemon. */
async function startDaemon(parts: DaemonParts, unbind: () => void): Promise<Daemon> {
  try {
    return await Daemon.start(parts);
  } catch (error) {
    unbind();
    throw error;
  }
}

/** The account, at the end: every frame that came, by what became of it. */
function report(daemon: Daemon, { unfolded: log }: Log): void {
  const { frames, bad } = daemon.received;
  log.info(`stopped; received ${frames} ${plural(frames, 'frame')}, ${bad} of them bad`, {
    frames,
  });
  for (const [name, account] of daemon.accounts) {
    const slash = name.lastIndexOf('/');
    const [bucket, stream] = [name.slice(0, slash), name.slice(slash + 1)];
    log.info(`${name}: ${printed(account)}`, { bucket, stream, ...account });
  }
}
