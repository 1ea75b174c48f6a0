// What systemd does for the daemon before it starts it, as far as another process can know: the sockets it
// holds, the folders it makes.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { kernelSockets } from '../net/kernelSockets.js';

const ROOTS = { RuntimeDirectory: '/run', StateDirectory: '/var/lib' } as const;
const DEADLINE_MS = 5_000;

/**
 * Paths that kahe.socket and kahe.service make when they are started; none where there is no systemd, or no
 * such unit.
 */
export function madeBySystemd(env: Readonly<Record<string, string | undefined>>): ReadonlySet<string> {
  const properties = `--property=Listen,${Object.keys(ROOTS).join(',')}`;
  try {
    const text = execFileSync('systemctl', ['show', 'kahe.socket', 'kahe.service', properties], {
      encoding: 'utf8',
      env: { ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: DEADLINE_MS,
    });
    return new Set(text.split('\n').flatMap(pathsOf));
  } catch {
    return new Set();
  }
}

/** `Listen=/run/kahe/kahe.sock (Stream)`, `RuntimeDirectory=kahe/admin kahe/more`. */
function pathsOf(line: string): string[] {
  const [, name = '', value = ''] = /^(\w+)=(.+)$/.exec(line) ?? [];
  if (name === 'Listen') return [value.replace(/ \(\w+\)$/, '')];
  const root = ROOTS[name as keyof typeof ROOTS] as string | undefined;
  return root === undefined ? [] : value.split(' ').map((folder) => join(root, folder));
}

/**
 * Somebody listens at this path, as the kernel says it: unlike a connection that starts nothing (kahe.socket
 * would start the daemon).
 */
export function isListenedAt(path: string): boolean {
  return kernelSockets().some((socket) => socket.isListening && socket.path === path);
}
