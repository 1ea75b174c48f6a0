// Through the running daemon's socket: what it confirms is safe, as its receipts mean it; what became of it,
// its report says.
import type { Clock } from '../../clock.js';
import { AwayError, DaemonLink } from '../daemonLink.js';
import { type Report, withEarlier } from '../outcomes.js';
import type { Piece } from './pieces.js';
import type { Target } from './target.js';

export class SocketTarget implements Target {
  readonly name: string;
  readonly advice =
    "look into the daemon's log: its destination may be away without a backup, or its disk full (and a kahego never confirms: use --stream)";
  readonly pieceBytes = 256 * 1024;
  readonly pieceFrames = 2_500;
  #link: DaemonLink | undefined;
  /** Of connections that are gone. */
  #earlier = { frames: 0, discarded: 0 };

  constructor(
    readonly path: string,
    readonly maxFrameBytes: number,
    readonly clock: Clock,
  ) {
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
      if (this.#link === link) this.#forget(link);
      throw error;
    }
  }

  get discarded(): number {
    return this.#earlier.discarded + (this.#link?.discarded ?? 0);
  }

  async outcome(waitMs: number): Promise<Report | undefined> {
    const report = await this.#link?.outcome(waitMs, this.clock);
    return report && withEarlier(report, this.#earlier.frames);
  }

  #forget(link: DaemonLink): void {
    this.#link = undefined;
    this.#earlier = {
      frames: this.#earlier.frames + link.confirmed,
      discarded: this.#earlier.discarded + link.discarded,
    };
  }

  close(): Promise<void> {
    this.#link?.destroy();
    this.#link = undefined;
    return Promise.resolve();
  }
}
