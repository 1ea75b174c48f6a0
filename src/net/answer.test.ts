// Whether somebody listens on a socket, asked as one who wants to connect.
import { type Server, type Socket, createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { answerOf, isAnswering } from './answer.js';

let folder: string;
let path: string;
let server: Server;
const sockets: Socket[] = [];

beforeEach(() => {
  folder = newFolder();
  path = join(folder, 'k.sock');
  server = createServer((socket) => socket.on('error', () => undefined));
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

test('nobody listens where there is no socket', async () => {
  expect(await answerOf(path)).toBe('ENOENT');
  expect(await isAnswering(path)).toBe(false);
});

test('somebody who listens answers', async () => {
  server.listen(path);
  expect(await isAnswering(path)).toBe(true);
});

test('somebody whose queue is full is there all the same', async () => {
  server.listen({ path, backlog: 1 });
  // All in one turn, so that none of them is taken from the queue.
  for (let i = 0; i < 4; i++) sockets.push(createConnection(path).on('error', () => undefined));
  const [answer, isThere] = [answerOf(path), isAnswering(path)];
  expect(await answer).toBe('EAGAIN');
  expect(await isThere).toBe(true);
});
