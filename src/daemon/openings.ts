// What the process has to the outside besides Kafka: the socket, the admin door, statsd.
import type { AdminDoor } from '../admin/door.js';
import type { Snapshot } from '../stats/snapshot.js';
import { systemClock } from '../clock.js';
import type { Log } from '../log/log.js';
import type { BoundSocket } from '../net/boundSocket.js';
import { inheritSockets } from '../net/inherit.js';
import { groupId } from '../net/names.js';
import { bindSocket } from '../net/namedSocket.js';
import type { Statsd } from '../statsd/statsd.js';
import type { Environment } from '../config/env.js';

/** systemd hands descriptors over from this number on. */
const FIRST_INHERITED_FD = 3;

/**
 * The admin door is there once the socket answers. When both are taken a daemon is running already, and that
 * is what is said.
 */
export async function openBoth(
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

export async function openStatsd(
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
export function inheritedFds(): number[] {
  const count =
    process.env['LISTEN_PID'] === String(process.pid) ? Number(process.env['LISTEN_FDS'] ?? 0) : 0;
  return Array.from({ length: count || 0 }, (_, index) => FIRST_INHERITED_FD + index);
}
