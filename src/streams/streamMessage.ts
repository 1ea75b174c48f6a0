// What a stream actor is told.
import type { Batch } from '../frames/batch.js';
import type { Target, Write } from './outstanding.js';
import type { DeliveryError, Settled, Stream } from './stream.js';
import type { Waiting } from './waiting.js';

export type StreamMessage =
  /** A share: the actor releases it once it is settled here. */
  | { readonly kind: 'batch'; readonly batch: Batch }
  /** What a failed predecessor held, counted already. */
  | { readonly kind: 'inherit'; readonly waiting: readonly Waiting[] }
  | { readonly kind: 'opened'; readonly problem: string | undefined }
  | { readonly kind: 'written'; readonly write: Write; readonly outcome: Settled | DeliveryError }
  | { readonly kind: 'retry' }
  | { readonly kind: 'probed'; readonly target: Target; readonly problem: string | undefined }
  /** A run of the replay has ended. */
  | { readonly kind: 'replayed'; readonly problem: string | undefined }
  /** Memory is short: what only waits here is wanted back. */
  | { readonly kind: 'giveBack' }
  | { readonly kind: 'deadline' }
  /**
   * The primary has had its time, though more is to come: all goes to the backup from now on, or is left
   * over.
   */
  | { readonly kind: 'giveUpPrimary' }
  /**
   * The parts of the actor with this primary were changed: it ends them within this time, and a successor
   * goes on with what is not settled.
   */
  | { readonly kind: 'retire'; readonly primary: Stream; readonly withinMs: number }
  | { readonly kind: 'retired' };
