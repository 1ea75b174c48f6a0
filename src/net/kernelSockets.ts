// Unix sockets as the kernel lists them, with the names that they were bound to: Node can't be asked for more
// than "it does not work".
import { readFileSync, readlinkSync } from 'node:fs';

export interface KernelSocket {
  readonly inode: string;
  readonly type: 'stream' | 'datagram' | 'sequential packet' | undefined;
  readonly isListening: boolean;
  /** An abstract name begins with @. Undefined: it has none. */
  readonly path: string | undefined;
}

const TYPES: Readonly<Record<string, KernelSocket['type']>> = {
  '0001': 'stream',
  '0002': 'datagram',
  '0005': 'sequential packet',
};
/** __SO_ACCEPTCON */
const LISTENING = 0x10000;

/** Of this network namespace; none where this is not Linux. */
export function kernelSockets(): readonly KernelSocket[] {
  try {
    return readFileSync('/proc/self/net/unix', 'utf8').split('\n').flatMap(socketOf);
  } catch {
    return [];
  }
}

/** Num RefCount Protocol Flags Type St Inode Path */
function socketOf(line: string): KernelSocket[] {
  const [, flags = '', type = '', inode, path] =
    /^\S+: \S+ \S+ (\S+) (\S+) \S+ +(\d+)(?: (.*))?$/.exec(line) ?? [];
  return inode === undefined
    ? []
    : [{ inode, type: TYPES[type], isListening: (Number.parseInt(flags, 16) & LISTENING) !== 0, path }];
}

/** @returns undefined: it is no Unix socket, or this is not Linux */
export function kernelSocket(fd: number): KernelSocket | undefined {
  try {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`)) ?? [];
    return kernelSockets().find((socket) => socket.inode === inode);
  } catch {
    return undefined;
  }
}
