// What a stream actor knows and holds, and what it may be asked about that. Of three modes:
//   normal  batches go to the primary.
//   backup  the primary failed: what it handed back, and what follows, goes to the backup, in order; the primary is tried now and then.
//   error   there is no backup, or it failed too: batches wait in their order, and the trying goes on. So they do when the primary must reject
//           frames and REJECTED can't keep them: a backup could not deliver them either.
// And one that shows as `backup`, or as `error` when there is none: `partial`, a part of the primary is away.
// Its frames go to the backup, or wait; all others go to the primary. Once it is back they come first: out of
// the backup as after any failure. A mode ends only when nothing written in it is outstanding, so that no
// batch passes another. With a replay, `backup` ends only when the primary has had all that lies in the
// backup: while that is being sent, what comes joins the end of the backup; near the end it waits.
import type { CatchUpPhase } from './backup/catchUp.js';
import type { DeliveryError, Settled } from './stream.js';
import type { StreamMode } from './streamStats.js';
import type { Target, Waiting } from './waiting.js';

/** A batch given to a stream, until its outcome is known and can be acted on. */
export interface Write {
  what: Waiting;
  readonly target: Target;
  outcome: Settled | DeliveryError | undefined;
}

export type Mode = StreamMode | 'partial';

/** The mode to enter once nothing is outstanding. */
export interface Next {
  readonly mode: StreamMode;
  readonly reason: string;
}

/**
 * `opening`: nothing is written yet. `steady`: the mode stands. `settling`: nothing more is written until
 * what is outstanding has ended, then `next` comes. `changing`: its streams are being closed, others come.
 * `emptying`: they are closed, and what is outstanding ends. `closing`: it ends, with nothing held.
 */
export type Step = 'opening' | 'steady' | 'settling' | 'changing' | 'emptying' | 'closing';

/**
 * `givenUp`: the primary has had its time, though more is to come. `draining`: nothing more is to come.
 * `lastResort`: both.
 */
export type Life = 'running' | 'givenUp' | 'draining' | 'lastResort';

export interface StreamState {
  mode: Mode;
  step: Step;
  /** While it settles. */
  next: Next | undefined;
  life: Life;
  replay: CatchUpPhase;
  writes: Write[];
  waiting: Waiting[];
  /**
   * In mode partial: frames of what is away, older than all that is outstanding or waits; and those of them
   * that the backup is being given, and whether it can be.
   */
  aside: Waiting[];
  asideWrites: Write[];
  backup: 'well' | 'away';
  /** Which stream is asked whether it is back. */
  asked: Target | undefined;
  /** What the last failure was about: frames that must be rejected and can't be kept, or anything else. */
  failure: 'rejected' | 'other';
  /** What went wrong last. */
  problem: string | undefined;
  /** Of so many batches the source knows that what is left of them is aside. */
  toldAside: number;
  /** Batches of which it is not known yet where they are left over. */
  leaving: number;
  /** Batches went back, and come again when it asks. */
  hasReturned: boolean;
}

export function newState(): StreamState {
  return {
    mode: 'normal',
    step: 'opening',
    next: undefined,
    life: 'running',
    replay: 'none',
    writes: [],
    waiting: [],
    aside: [],
    asideWrites: [],
    backup: 'well',
    asked: undefined,
    failure: 'other',
    problem: undefined,
    toldAside: 0,
    leaving: 0,
    hasReturned: false,
  };
}

/** What is so outside, now. */
export interface StreamFacts {
  readonly hasBackup: boolean;
  readonly depth: Readonly<Record<Target, number>>;
  /** What of the primary is away, and whether some of that was found back: see `Stream`. */
  readonly away: string | undefined;
  readonly hasReturned: boolean;
  /** The backup holds what the primary has not had, or it is not known yet. */
  readonly isReplayDue: boolean;
  /** … from the start: why. */
  readonly whatWasLeft: string;
}

/** Nothing is written before something else is over. */
export function isPending({ step }: StreamState): boolean {
  return step === 'settling' || isChanging(step);
}

export function isChanging(step: Step): boolean {
  return step === 'changing' || step === 'emptying';
}

export function isDraining({ life }: StreamState): boolean {
  return life === 'draining' || life === 'lastResort';
}

export function isPastTime({ life }: StreamState): boolean {
  return life === 'givenUp' || life === 'lastResort';
}

/** No outcome is awaited any more. */
export function haveEnded({ writes, asideWrites }: StreamState): boolean {
  const hasEnded = ({ outcome }: Write): boolean => outcome !== undefined;
  return writes.every(hasEnded) && asideWrites.every(hasEnded);
}

export function isHolding({ writes, asideWrites, waiting, aside }: StreamState): boolean {
  return writes.length + asideWrites.length + waiting.length + aside.length > 0;
}

export function canWriteAside({ backup }: StreamState, { hasBackup }: StreamFacts): boolean {
  return hasBackup && backup === 'well';
}

/** As it shows. */
export function shownMode(state: StreamState, facts: StreamFacts): StreamMode {
  if (state.mode !== 'partial') return state.mode;
  return canWriteAside(state, facts) ? 'backup' : 'error';
}

/** Past its time, and nothing can be written. */
export function hasNowhereToGo(state: StreamState): boolean {
  return isPastTime(state) && (state.step === 'opening' || (state.mode === 'error' && !isPending(state)));
}

/** What waits for room in REJECTED is safe in the backup at least. */
export function mustGoToBackup(state: StreamState, { hasBackup }: StreamFacts): boolean {
  return state.mode === 'error' && !isPending(state) && state.failure === 'rejected' && hasBackup;
}
