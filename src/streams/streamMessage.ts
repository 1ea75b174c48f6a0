// What a stream actor is told. What comes from its own streams is an event, as it is (streamEvent.ts).
import type { Batch } from '../frames/batch.js';
import type { StreamEvent } from './streamEvent.js';
import type { StreamActorOptions } from './streamOptions.js';
import type { Begun } from './waiting.js';

export type StreamMessage =
  /**
   * A share, or what is left of one, which has begun: the actor lets go of it once it is settled here, and
   * says so to its source.
   */
  | { readonly kind: 'batch'; readonly batch: Batch; readonly begun?: Begun }
  /**
   * Other parts take the place of its own: what is outstanding has this time to end, and all else goes back
   * to the source, which feeds the new ones. `onTaken` is called once they are in force.
   */
  | {
      readonly kind: 'configure';
      readonly options: StreamActorOptions;
      readonly withinMs: number;
      readonly onTaken: () => void;
    }
  /** Memory is short: what only waits here is wanted back (`giveBack`); the primary has had its time. */
  | Exclude<StreamEvent, { readonly kind: 'batch' | 'change' | 'abandon' }>;
