// How a stream actor's mode changes: when nothing is outstanding any more, with what was handed back before
// all else, and with what lies in the backup before that.
import type { StreamEffect } from './streamEvent.js';
import {
  type Mode,
  type Next,
  type StreamFacts,
  type StreamState,
  type Write,
  canWriteAside,
  isChanging,
  isDraining,
  isPastTime,
  isPending,
  shownMode,
} from './streamState.js';
import { DeliveryError } from './stream.js';
import { type Waiting, handedBack } from './waiting.js';

/** One step: the state, which it changes, what is so outside, and what is to be done. */
export interface StepContext {
  readonly state: StreamState;
  readonly facts: StreamFacts;
  readonly effects: StreamEffect[];
}

export const BEGINS_ANEW = 'begins anew';

/** Nothing more is written until what is outstanding has ended; then this mode comes. */
export function settleInto(context: StepContext, next: Next): void {
  const { state } = context;
  if (isChanging(state.step)) return;
  state.step = 'settling';
  state.next = next;
}

export function steady(state: StreamState): void {
  state.step = 'steady';
  state.next = undefined;
}

/** Nothing is outstanding, and it settles. */
export function enterNext(context: StepContext): void {
  const { state, effects } = context;
  const { mode, reason } = state.next!;
  if (state.replay === 'resting' && mode === 'normal') {
    steady(state);
    return replay(context, 'last', false);
  }
  // The backup failed while it was to rest.
  if (state.replay === 'resting') state.replay = 'none';
  if (mode !== 'normal') return enter(context, { mode, reason });
  if (state.mode === 'partial') effects.push({ kind: 'readmit', after: 'settling' });
  else returnToPrimary(context);
}

/** What lies in the backup goes first, also what came there since the primary was asked. */
export function returnToPrimary(context: StepContext): void {
  const { state, facts } = context;
  const { reason } = state.next!;
  if (!facts.isReplayDue) return enter(context, { mode: 'normal', reason });
  if (state.mode === 'partial')
    enter(context, { mode: canWriteAside(state, facts) ? 'backup' : 'error', reason });
  steady(state);
  startReplay(context);
}

/** Nothing is outstanding: what was handed back waits again, before all else, and the mode changes. */
export function enter(context: StepContext, { mode, reason }: Next): void {
  const { state, facts, effects } = context;
  state.waiting = takeAll(context);
  steady(state);
  state.backup = 'well';
  if (mode !== 'error') state.failure = 'other';
  effects.push({ kind: 'forgetNotSent' });
  if (mode === 'normal' && facts.away !== undefined) show(context, 'partial', awayReason(facts));
  else show(context, mode, reason);
  if (state.mode === 'error') effects.push({ kind: 'stuck' });
  else askForMore(context);
}

export function awayReason({ away }: StreamFacts): string {
  return away ?? 'a part of the primary was away';
}

export function show(context: StepContext, mode: Mode, reason: string): void {
  const { state, facts, effects } = context;
  state.mode = mode;
  if (mode !== 'normal') state.problem = reason;
  const waiting = [...state.aside, ...state.waiting].reduce((sum, { batch }) => sum + batch.frames, 0);
  effects.push({ kind: 'show', mode, shown: shownMode(state, facts), reason, waiting });
  scheduleRetry(context);
}

export function scheduleRetry({ state, facts, effects }: StepContext): void {
  const shown = shownMode(state, facts);
  effects.push({ kind: 'retry', as: shown === 'normal' ? 'never' : shown });
}

function askForMore({ state, effects }: StepContext): void {
  if (!state.hasReturned) return;
  state.hasReturned = false;
  effects.push({ kind: 'ready' });
}

/** Asks the primary whether it is back. */
export function probe({ state, effects }: StepContext): void {
  if (state.asked !== undefined || state.mode === 'normal' || isPending(state)) return;
  if (isPastTime(state) || state.replay !== 'none') return;
  state.asked = 'primary';
  effects.push({ kind: 'ask', target: 'primary' });
}

/**
 * The primary is back. At the end of its life a stream leaves its backup to the next one, unless that can't
 * be written either.
 */
export function startReplay(context: StepContext): void {
  const { state } = context;
  if (isDraining(state) && state.mode === 'backup') return;
  replay(context, state.mode === 'backup' ? 'sending' : 'last', true);
}

function replay({ state, effects }: StepContext, phase: 'sending' | 'last', isNew: boolean): void {
  state.replay = phase;
  effects.push({ kind: 'replay', phase, isNew });
}

/** All that is not settled, in its order. */
export function takeAll(context: StepContext): Waiting[] {
  const { state } = context;
  return [
    ...takeLeft(context, state.asideWrites.splice(0)),
    ...state.aside.splice(0),
    ...takeLeft(context, state.writes.splice(0)),
    ...state.waiting.splice(0),
  ];
}

/** Of writes that have ended or count for nothing: what must be written anew; what is settled is let go. */
export function takeLeft({ effects }: StepContext, writes: readonly Write[]): Waiting[] {
  return writes.flatMap((write) => {
    const { what, target, outcome } = write;
    if (outcome === undefined) return [what];
    if (!(outcome instanceof DeliveryError)) {
      effects.push({ kind: 'settled', what, write });
      return [];
    }
    effects.push({ kind: 'letGo', batch: what.batch });
    return [handedBack(what, target, outcome)];
  });
}
