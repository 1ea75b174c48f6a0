// Thousands of connections that say nothing, held by a process of their own: this one may not open so many
// files.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';

const HOLD = `
const { connect } = require('node:net');
const [path, count] = [process.argv[1], Number(process.argv[2])];
// EAGAIN: the backlog is full just now.
const open = () => new Promise((resolve, reject) => {
  const socket = connect(path, () => resolve(socket));
  socket.on('error', (error) => (error.code === 'EAGAIN' ? setTimeout(() => resolve(open()), 5) : reject(error)));
});
(async () => {
  // In waves, so that the backlog of the socket has room for others too.
  for (let made = 0; made < count; made += 100) await Promise.all(Array.from({ length: Math.min(100, count - made) }, open));
  console.log('connected');
})();
process.stdin.resume().on('end', () => process.exit());
`;

/** How many files a process may open, once its limit is raised as far as it goes. */
export function mostOpenFiles(): number {
  return Number(/^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
}

/**
 * Resolves when all are connected.
 * @returns the way to let them go at once; the end of the test does so too
 */
export async function holdIdleClients(socketPath: string, count: number): Promise<() => Promise<void>> {
  const limit = String(mostOpenFiles());
  const child = spawn(
    'sh',
    ['-c', 'ulimit -n "$0" && exec "$@"', limit, process.execPath, '-e', HOLD, socketPath, String(count)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const letGo = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(letGo);
  const connected = once(createInterface(child.stdout), 'line');
  const ended = exited.then(() => {
    throw new Error(`the process that holds ${count} connections has ended`);
  });
  await Promise.race([connected, ended]);
  ended.catch(() => undefined);
  return letGo;
}
