// Whether somebody takes connections on a Unix socket.
import { createConnection } from 'node:net';
import { errnoOf } from '../disk/fileSystem.js';

/**
 * Undefined: somebody takes connections there. EAGAIN: and has so many that there is no room for one more.
 */
export function answerOf(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.once('error', (error) => resolve(errnoOf(error) ?? 'unknown'));
  });
}

/** Does somebody listen there? One whose queue is full does. */
export async function isAnswering(path: string): Promise<boolean> {
  const answer = await answerOf(path);
  return answer === undefined || answer === 'EAGAIN';
}
