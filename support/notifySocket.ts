// A NOTIFY_SOCKET that listens, in place of systemd. Promise: each datagram is kept, in the order in which
// they came, and after the test the listener is gone. Node has no Unix datagram sockets, so Python listens.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';

const DEADLINE_MS = 60_000;

export class NotifySocket {
  /** For NOTIFY_SOCKET. */
  readonly address: string;
  /**
   * The assignments of each datagram; barriers, which only wait until those before them were read, are left
   * out.
   */
  readonly datagrams: string[][] = [];

  private constructor(address: string) {
    this.address = address;
  }

  /** @param address a path, or `@name` */
  static async listen(address: string): Promise<NotifySocket> {
    const child = spawn('python3', [path.join(import.meta.dirname, 'notify.py'), address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const socket = new NotifySocket(address);
    let isListening = false;
    createInterface(child.stdout).on('line', (line) => {
      const assignments = (JSON.parse(line) as string[]).filter((text) => text !== '');
      if (assignments.length === 0) isListening = true;
      else if (!assignments.includes('BARRIER=1')) socket.datagrams.push(assignments);
    });
    await expect.poll(() => isListening, { timeout: DEADLINE_MS }).toBe(true);
    return socket;
  }

  /** Every assignment so far, in order. */
  get said(): string[] {
    return this.datagrams.flat();
  }

  /** The first datagram with an assignment like this, of those that came and those to come. */
  async until(pattern: RegExp): Promise<string[]> {
    const find = (): string[] | undefined =>
      this.datagrams.find((assignments) => assignments.some((text) => pattern.test(text)));
    await expect
      .poll(find, {
        timeout: DEADLINE_MS,
        message: `a datagram like ${String(pattern)}; there are ${JSON.stringify(this.datagrams)}`,
      })
      .toBeDefined();
    return find()!;
  }
}
