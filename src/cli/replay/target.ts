// Where a replay's frames go: through the running daemon, or straight to a stream.
import type { Report } from '../outcomes.js';
import type { Piece } from './pieces.js';

export interface Target {
  /** Stands in notes and messages, as `socket /tmp/kahego.sock`. */
  readonly name: string;
  /** What to look at when it takes too long. */
  readonly advice: string;
  /** How much one send is worth being. */
  readonly pieceBytes: number;
  readonly pieceFrames: number;
  /** The greatest N of a frame that it takes. */
  readonly maxFrameBytes: number;
  /** Frames that nothing keeps, of those it took: what held them must stay. */
  readonly discarded: number;

  /** At the end: what became of all that is safe. @returns undefined: it can't be known */
  outcome(waitMs: number): Promise<Report | undefined>;

  /** Makes ready; harmless when it is. @throws {AwayError} nobody answers */
  open(): Promise<void>;

  /**
   * Resolves once all its frames are safe, in the order of the calls.
   * @throws {AwayError} it is not known what became of what was sent
   */
  send(piece: Piece): Promise<void>;

  /** Ends, at once: what is outstanding fails. */
  close(): Promise<void>;
}
