// The contract of rejecting: frames that can't be delivered move to REJECTED, each with its reason.
import type { FramesByOrigin } from '../frames/origins.js';
import type { RejectCode } from '../intake/outcome.js';
import { type Run, originsOf } from '../intake/run.js';
import type { Followed } from '../intake/ticket.js';

/** Why frames are rejected: for programs, and for people. */
export interface Refusal {
  readonly code: RejectCode;
  readonly reason: string;
}

/** Frames to be rejected: whole ones, from `start` to `end` of the bytes. */
export interface Rejection {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly frames: number;
  readonly bucket: string;
  readonly reason: string;
  /** The connections they came on, which hear of it. */
  readonly from?: FramesByOrigin | undefined;
}

/**
 * `kept`: they are in a file, safe. `discarded`: nothing has them, as the configuration allows, or because
 * the process ends. `refused`: they can't be kept now, and are their giver's still.
 */
export type RejectedEnd = 'kept' | 'discarded' | 'refused';

/** What holds up a stream whose frames were refused. */
export function cantBeKept({ problem }: Pick<RejectedFrames, 'problem'>): string {
  return `frames must be rejected and can't be kept: ${problem ?? 'no reason is known'}`;
}

/**
 * Where frames that can't be delivered move to, each with its reason. Rejecting is a move and not an end:
 * what can't be kept is not lost.
 */
export interface RejectedFrames {
  /** Why nothing can be kept now; undefined: nothing is known against it. */
  readonly problem: string | undefined;

  /** Copies them before the call returns, and waits for as long as there is no room. */
  reject(rejection: Rejection): Promise<'kept' | 'discarded'>;

  /**
   * Takes them over if they can be kept now. The giver holds the bytes until this resolves. Never rejects.
   */
  offer(rejection: Rejection): Promise<RejectedEnd>;
}

/** Who follows the frames hears of them once it is known where they are. */
export async function rejectFollowed(
  rejected: RejectedFrames,
  rejection: Rejection,
  code: RejectCode,
  followed: Followed | undefined,
): Promise<'kept' | 'discarded'> {
  const ended = await rejected.reject(rejection);
  const { frames, reason } = rejection;
  followed?.ticket.ended(
    followed.first,
    frames,
    ended === 'kept' ? { kind: 'rejected', code, reason } : { kind: 'discarded', reason },
  );
  return ended;
}

/** All frames of a run; whoever has the run ends it. */
export function rejectRun(
  rejected: RejectedFrames,
  run: Run,
  bucket: string,
  { code, reason }: Refusal,
): Promise<'kept' | 'discarded'> {
  const { chunk: bytes, start, end, frames, followed } = run;
  const rejection = { bytes, start, end, frames, bucket, reason, from: originsOf(run) };
  return rejectFollowed(rejected, rejection, code, followed);
}
