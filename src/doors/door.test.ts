// The contract of a door, kept by the plainest one there can be.
import { doorContract } from '../../support/doorContract.js';
import { LineDoor, type LineClient } from '../../support/lineDoor.js';

doorContract('LineDoor', () => {
  const door = new LineDoor();
  return Promise.resolve({
    door,
    connect: () => {
      const client = door.connect();
      return Promise.resolve(new Lines(client));
    },
    isShut: () => Promise.resolve(door.state !== 'reading'),
    cleanup: () => Promise.resolve(),
  });
});

class Lines {
  #rest = '';

  constructor(readonly client: LineClient) {}

  send(bucket: string, messages: readonly string[]): void {
    this.client.write(messages.map((message) => `${bucket} ${message}\n`).join(''));
  }

  sendHalf(bucket: string, message: string): void {
    const line = `${bucket} ${message}\n`;
    const half = Math.max(1, line.length - 50 * 1024);
    this.client.write(line.slice(0, half));
    this.#rest = line.slice(half);
  }

  sendRest(): void {
    this.client.write(this.#rest);
  }

  sendBad(): void {
    this.client.write('nonsense\n');
  }

  ask(): void {
    this.client.write('?\n');
  }

  leave(): void {
    this.client.leave();
  }

  get answers(): readonly number[] {
    return this.client.answers;
  }

  get isGone(): boolean {
    return this.client.isGone;
  }
}
