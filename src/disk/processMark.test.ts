import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { mark, otherRunning, processMark } from './processMark.js';

test('a process that runs is told from one that has ended, one of the same number, and itself', async () => {
  const child = spawn('sleep', ['60']);
  const running = processMark(child.pid)!;
  expect(otherRunning(running)).toBe(child.pid);
  expect(otherRunning(running.replace(/\d+$/, '1'))).toBeUndefined();
  expect(otherRunning(running.replace(/^[^/]+/, '00000000-0000-0000-0000-000000000000'))).toBeUndefined();
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(otherRunning(running)).toBeUndefined();
  expect(mark()).toBe(processMark(process.pid));
  expect(otherRunning(mark()!)).toBeUndefined();
});

test('one that has ended, and that nobody has asked how, runs no more', async () => {
  // The shell starts a child and becomes a program that never waits for it.
  const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  await expect.poll(() => processMark(pid), { timeout: 10_000 }).toBeUndefined();
  parent.kill('SIGKILL');
  await once(parent, 'exit');
});

test.each(['', 'x', '../../etc', '00000000-0000-0000-0000-000000000000/../1', 'null/1/1'])('a text that is no mark (%j) means nobody', (text) => {
  expect(otherRunning(text)).toBeUndefined();
});
