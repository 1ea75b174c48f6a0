// What a stream actor's step function takes, and what it has the actor do.
import type { Batch } from '../frames/batch.js';
import type { DeliveryError, Settled } from './stream.js';
import type { StreamMode } from './streamStats.js';
import type { Mode, Write } from './streamState.js';
import type { Target, Waiting } from './waiting.js';

export type StreamEvent =
  | { readonly kind: 'batch'; readonly what: Waiting }
  /** What a failed predecessor held. */
  | { readonly kind: 'inherit'; readonly waiting: readonly Waiting[] }
  | { readonly kind: 'opened'; readonly problem: string | undefined }
  /** The slice has left nothing of what was to be written. */
  | { readonly kind: 'empty'; readonly write: Write }
  | { readonly kind: 'written'; readonly write: Write; readonly outcome: Settled | DeliveryError }
  | { readonly kind: 'retry' }
  | { readonly kind: 'probed'; readonly target: Target; readonly problem: string | undefined }
  /** The primary has let in again what was back. */
  | { readonly kind: 'readmitted'; readonly after: 'probe' | 'settling' }
  | { readonly kind: 'replayed'; readonly problem: string | undefined }
  | { readonly kind: 'giveBack' }
  | { readonly kind: 'drain' }
  | { readonly kind: 'deadline' }
  | { readonly kind: 'giveUpPrimary' }
  /** Other streams take the place of these. */
  | { readonly kind: 'change' }
  /** These are closed for that. */
  | { readonly kind: 'closed' }
  /** It can't be taken by an actor. */
  | { readonly kind: 'abandon'; readonly waiting: readonly Waiting[]; readonly reason: string }
  /** It is known where a batch is left over. */
  | { readonly kind: 'leftOver' };

export type StreamEffect =
  /** Takes its slice, which is from then on what is written, and writes it. */
  | { readonly kind: 'write'; readonly write: Write }
  /** Enters an outcome into the account and the stats. */
  | { readonly kind: 'count'; readonly write: Write; readonly outcome: Settled | DeliveryError }
  /** Says that a batch has ended here, all of it. */
  | { readonly kind: 'settled'; readonly what: Waiting; readonly write: Write | undefined }
  | { readonly kind: 'letGo'; readonly batch: Batch }
  | { readonly kind: 'giveBack'; readonly what: Waiting }
  /** @see StreamActorOptions.onLeftOver; with `isLate` the reason says that its time was over. */
  | {
      readonly kind: 'leaveOver';
      readonly what: Waiting;
      readonly reason: string;
      readonly isLate: boolean;
    }
  /** Shows the mode, and says so; so many frames wait. */
  | {
      readonly kind: 'show';
      readonly mode: Mode;
      readonly shown: StreamMode;
      readonly reason: string;
      readonly waiting: number;
    }
  | { readonly kind: 'retry'; readonly as: 'backup' | 'error' | 'never' }
  | { readonly kind: 'ask'; readonly target: Target }
  | { readonly kind: 'notBack'; readonly target: Target; readonly problem: string }
  | { readonly kind: 'readmit'; readonly after: 'probe' | 'settling' }
  | { readonly kind: 'replay'; readonly phase: 'sending' | 'last'; readonly isNew: boolean }
  | { readonly kind: 'stopReplay' }
  | { readonly kind: 'notSent'; readonly problem: string }
  | { readonly kind: 'forgetNotSent' }
  /** Makes a stream hand back at once what hangs in it. */
  | { readonly kind: 'cut'; readonly target: Target }
  | { readonly kind: 'watch'; readonly deadline: Target | 'none' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'stuck' }
  | { readonly kind: 'aside'; readonly batches: number }
  | { readonly kind: 'closeToChange' }
  | { readonly kind: 'takeParts' }
  | { readonly kind: 'end' };
