// The contract of a door: a listener by which frames come in. A door turns what its clients send into runs
// (see intake/run.ts), hands them to its entrance, and answers its clients. Promise to it: memory, the end
// and the counts are seen to for all doors in one place (see doors.ts). Promise of it: whatever a client
// sends, it harms neither another client nor another door.
//
//   made (bound already) ── open ──► reading ── quiesce ──► quiet ── release ──► gone
//                                    pause ⇅ resume
import type { Entrance } from './entrance.js';

/** All calls come from `Doors`, in the order that is drawn above. */
export interface Door {
  /** `socket`: of its counts and its lines in the log. No other door has it. */
  readonly name: string;

  /** Why nobody new can come in just now, as a line for people; undefined: they can. Asked at any time. */
  readonly problem: string | undefined;

  /**
   * From here on clients are taken and read. Called once, when the buckets are there. It does not fail:
   * reading settings and binding can, so that is done before there is a door; clients that come meanwhile
   * wait in the kernel.
   * @param entrance where to all goes that comes in, for as long as the door lives
   */
  open(entrance: Entrance): void;

  /**
   * Memory or the spool is full: clients are not read until `resume`, but input that is told to `finish` (see
   * memory/unfinished.ts). New clients may be taken, and wait likewise: `entrance.budget.isOver` tells.
   *
   * It is called while somebody takes memory, often in the middle of the door's own reading: it returns at
   * once, and what has been read by then is still handed on, for taking memory never fails. Pausing twice is
   * pausing once. Clients that wait for answers go on having them.
   */
  pause(): void;

  /** Clients are read again. Their time limits begin anew: they could not go on. */
  resume(): void;

  /**
   * The first half of the end. Nobody new comes in; what the others have sent by now is read, for at most
   * `withinMs`; idle clients are not waited for. `pause`, `resume` and `finish` may come meanwhile.
   *
   * Once this resolves nothing more is handed on, for the buckets end next, and clients are there only for
   * what they have yet to be answered.
   */
  quiesce(withinMs: number): Promise<void>;

  /**
   * The second half: the buckets have ended, so what can be answered has been. Clients are let go. Resolves
   * when all have gone.
   */
  release(): Promise<void>;
}
