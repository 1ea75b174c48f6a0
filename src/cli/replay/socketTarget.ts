// Through the running daemon's socket: what it confirms is safe, as its receipts mean it.
import { AwayError, DaemonLink } from '../daemonLink.js';
import type { Piece } from './pieces.js';
import type { Target } from './target.js';

export class SocketTarget implements Target {
  readonly name: string;
  readonly advice = 'look into the daemon\'s log: its destination may be away without a backup, or its disk full (and a kahego never confirms: use --stream)';
  readonly pieceBytes = 256 * 1024;
  readonly pieceFrames = 2_500;
  readonly rejected = undefined;
  #link: DaemonLink | undefined;

  constructor(readonly path: string, readonly maxFrameBytes: number) {
    this.name = `socket ${path}`;
  }

  async open(): Promise<void> {
    this.#link ??= await DaemonLink.connect(this.path);
  }

  async send({ bytes, frames }: Piece): Promise<void> {
    const link = this.#link;
    if (link === undefined) throw new AwayError(`${this.path}: the connection is gone`);
    try {
      await link.send(bytes, frames);
    } catch (error) {
      link.destroy();
      if (this.#link === link) this.#link = undefined;
      throw error;
    }
  }

  close(): Promise<void> {
    this.#link?.destroy();
    this.#link = undefined;
    return Promise.resolve();
  }
}
