// Senders of the demo: PHP programs with the client of clients/php, or where there is no PHP, connections of
// this process.
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { encodeFrame } from '../../src/frames/frame.js';

export interface Sending {
  readonly socket: string;
  readonly bucket: string;
  readonly sender: string;
  /** The id of the first message; the others follow. */
  readonly first: number;
  readonly count: number;
}

/** Sends, and resolves to the number in the receipt. */
export type Send = (sending: Sending) => Promise<number>;

export function findSender(): { readonly name: string; readonly send: Send } {
  const hasPhp = spawnSync('php', ['-r', 'exit(PHP_VERSION_ID >= 80100 ? 0 : 1);']).status === 0;
  return hasPhp
    ? { name: 'PHP programs with clients/php', send: sendWithPhp }
    : { name: 'Node connections (no PHP 8.1 here)', send: sendWithNode };
}

async function sendWithPhp({ socket, bucket, sender, first, count }: Sending): Promise<number> {
  const script = path.join(import.meta.dirname, 'send.php');
  const { stdout } = await promisify(execFile)('php', [
    script,
    socket,
    bucket,
    sender,
    String(first),
    String(count),
  ]);
  return Number(stdout);
}

export async function sendWithNode({ socket, bucket, sender, first, count }: Sending): Promise<number> {
  const frames = Array.from({ length: count }, (_, i) => {
    const id = first + i;
    return encodeFrame(
      bucket,
      bucket === 'orders' ? `user-${id % 100}` : null,
      JSON.stringify({ sender, id }),
    );
  });
  return sendBytes(socket, frames);
}

/** Writes whole frames, asks whether they are safe, and resolves to the answer. */
async function sendBytes(socketPath: string, frames: readonly Buffer[]): Promise<number> {
  const socket = createConnection(socketPath);
  await once(socket, 'connect');
  for (const frame of frames) if (!socket.write(frame)) await once(socket, 'drain');
  socket.end(Buffer.alloc(4));
  const answer: Buffer[] = [];
  for await (const piece of socket) answer.push(piece as Buffer);
  const bytes = Buffer.concat(answer);
  if (bytes.length < 8) throw new Error('the daemon closed the connection before it answered');
  return Number(bytes.readBigUInt64LE());
}
