// What a stream actor does about each thing that happens: (state, event, what is so outside) → effects, and
// the state changed in place, because a queue of thousands is not copied for a batch. It touches nothing
// else, and asks nothing twice: the same history gives the same effects.
import type { StreamEffect, StreamEvent } from './streamEvent.js';
import {
  BEGINS_ANEW,
  type StepContext,
  awayReason,
  enter,
  enterNext,
  probe,
  returnToPrimary,
  scheduleRetry,
  settleInto,
  show,
  startReplay,
  steady,
  takeLeft,
} from './streamModes.js';
import {
  finishDraining,
  giveBack,
  giveBackAll,
  giveBackWhole,
  giveUp,
  leaveOver,
  listOf,
  pump,
} from './streamQueues.js';
import {
  type StreamFacts,
  type StreamState,
  type Write,
  canWriteAside,
  hasNowhereToGo,
  haveEnded,
  isChanging,
  isDraining,
  isPastTime,
  isPending,
  mustGoToBackup,
  newState,
  shownMode,
} from './streamState.js';
import { DeliveryError, type Settled } from './stream.js';
import type { Target, Waiting } from './waiting.js';

export function step(state: StreamState, event: StreamEvent, facts: StreamFacts): readonly StreamEffect[] {
  const context: StepContext = { state, facts, effects: [] };
  handle(context, event);
  return context.effects;
}

function handle(context: StepContext, event: StreamEvent): void {
  const { state } = context;
  switch (event.kind) {
    case 'batch':
      return onBatch(context, event.what);
    case 'inherit':
      state.waiting = [...event.waiting, ...state.waiting];
      return pump(context);
    case 'opened':
      return onOpened(context, event.problem);
    case 'empty':
      return onEmpty(context, event.write);
    case 'written':
      return onWritten(context, event.write, event.outcome);
    case 'retry':
      return probe(context);
    case 'probed':
      return onProbed(context, event.target, event.problem);
    case 'readmitted':
      return onReadmitted(context, event.after);
    case 'replayed':
      return onReplayed(context, event.problem);
    case 'giveBack':
      return giveBackWhole(context);
    case 'drain':
      return onDrain(context);
    case 'deadline':
      return onDeadline(context);
    case 'giveUpPrimary':
      return onGiveUpPrimary(context);
    case 'change':
      return onChange(context);
    case 'closed':
      return onClosed(context);
    case 'abandon':
      for (const what of event.waiting) leaveOver(context, what, event.reason);
      return;
    case 'leftOver':
      state.leaving--;
      return finishDraining(context);
  }
}

function onBatch(context: StepContext, what: Waiting): void {
  const { state, effects } = context;
  if (state.step === 'closing') return leaveOver(context, what, 'it came when the stream was closing');
  if (isChanging(state.step)) return giveBack(context, what);
  state.waiting.push(what);
  pump(context);
  if (state.mode === 'error') effects.push({ kind: 'stuck' });
}

function onOpened(context: StepContext, problem: string | undefined): void {
  const { state, facts, effects } = context;
  if (state.step !== 'opening') return;
  state.step = 'steady';
  state.hasReturned = false;
  effects.push({ kind: 'ready' });
  if (problem !== undefined) enter(context, { mode: 'error', reason: problem });
  else if (facts.isReplayDue) {
    // What was left in the backup goes first.
    enter(context, { mode: 'backup', reason: facts.whatWasLeft });
    probe(context);
  } else if (facts.away !== undefined) enter(context, { mode: 'normal', reason: BEGINS_ANEW });
  pump(context);
}

function onEmpty(context: StepContext, write: Write): void {
  const { state, effects } = context;
  const list = listOf(state, write)!;
  list.splice(list.indexOf(write), 1);
  effects.push({ kind: 'settled', what: write.what, write: undefined });
  goOn(context);
}

function onWritten(context: StepContext, write: Write, outcome: Settled | DeliveryError): void {
  const { state, effects } = context;
  const list = listOf(state, write);
  if (list === undefined) {
    if (outcome instanceof DeliveryError) effects.push({ kind: 'letGo', batch: outcome.undelivered });
    return;
  }
  write.outcome = outcome;
  effects.push({ kind: 'count', write, outcome });
  if (outcome instanceof DeliveryError) onHandedBack(context, write, list, outcome);
  goOn(context);
}

/** A write is over. */
function goOn(context: StepContext): void {
  const { state } = context;
  if (state.step === 'settling' && haveEnded(state)) enterNext(context);
  if (state.step === 'emptying' && haveEnded(state)) return takeParts(context);
  pump(context);
}

function onHandedBack(context: StepContext, { target }: Write, list: Write[], error: DeliveryError): void {
  const { state } = context;
  state.problem = error.message;
  if (list === state.asideWrites) return onAsideFailed(context, error);
  if (error.code !== 'AWAY') return onFailure(context, target, error);
  if (state.mode === 'normal' && !isPending(state)) show(context, 'partial', error.message);
}

/** What is aside waits then, and the others go on. */
function onAsideFailed(context: StepContext, error: DeliveryError): void {
  const { state, facts } = context;
  const isFirst = state.backup === 'well';
  state.backup = 'away';
  if (isPending(state)) return;
  if (state.asideWrites.every(({ outcome }) => outcome !== undefined))
    state.aside.unshift(...takeLeft(context, state.asideWrites.splice(0)));
  if (isFirst) show(context, 'partial', `${awayReason(facts)}; ${error.message}`);
}

function onFailure(context: StepContext, target: Target, error: DeliveryError): void {
  const { state, facts } = context;
  state.failure = error.code === 'REJECTED' ? 'rejected' : 'other';
  const toBackup = target === 'primary' && facts.hasBackup && state.failure !== 'rejected';
  // The first failure says why; those behind it fail because of it. A failure also overrules a return to the
  // primary.
  if (state.next === undefined || state.next.mode === 'normal')
    settleInto(context, { mode: toBackup ? 'backup' : 'error', reason: error.message });
}

function onProbed(context: StepContext, target: Target, answer: string | undefined): void {
  const { state, facts, effects } = context;
  const problem = answer ?? (target === 'primary' ? stillAway(context) : undefined);
  if (problem !== undefined && target === 'primary' && isBackupWorthAsking(context)) {
    state.asked = 'backup';
    effects.push({ kind: 'ask', target: 'backup' });
    return;
  }
  state.asked = undefined;
  if (isPastTime(state)) return;
  if (problem !== undefined) {
    state.problem = problem;
    effects.push({ kind: 'notBack', target, problem });
    return scheduleRetry(context);
  }
  if (isPending(state) || state.mode === 'normal') return;
  if (state.mode === 'partial' && target === 'backup') {
    state.backup = 'well';
    show(context, 'partial', `${awayReason(facts)}; the backup can be written again`);
  } else goOnWith(context, target);
  pump(context);
}

/** Once the primary has said no. */
function isBackupWorthAsking({ state, facts }: StepContext): boolean {
  return shownMode(state, facts) === 'error' && facts.hasBackup && state.failure !== 'rejected';
}

/** While a part is away: why there is no use in letting it in. */
function stillAway({ state, facts }: StepContext): string | undefined {
  return state.mode === 'partial' && !facts.hasReturned ? facts.away : undefined;
}

/** It can be written again. */
function goOnWith(context: StepContext, target: Target): void {
  const { state, facts, effects } = context;
  const isPartial = state.mode === 'partial';
  // At the end of its life a stream leaves its backup to the next one.
  if (isPartial && isDraining(state) && canWriteAside(state, facts)) return;
  if (target === 'backup')
    settleInto(context, {
      mode: 'backup',
      reason: 'the backup can be written again, the primary is away',
    });
  else
    settleInto(context, {
      mode: 'normal',
      reason: isPartial ? 'what was away of the primary is back' : 'the primary is back',
    });
  if (target === 'primary' && !isPartial) effects.push({ kind: 'readmit', after: 'probe' });
  else if (haveEnded(state)) enterNext(context);
}

function onReadmitted(context: StepContext, after: 'probe' | 'settling'): void {
  const { state, facts } = context;
  if (state.step !== 'settling') return;
  if (after === 'settling') returnToPrimary(context);
  else if (facts.isReplayDue) {
    steady(state);
    startReplay(context);
  } else if (haveEnded(state)) enterNext(context);
  pump(context);
}

function onReplayed(context: StepContext, problem: string | undefined): void {
  const { state, facts, effects } = context;
  const ended = state.replay;
  state.replay = 'none';
  if (isChanging(state.step)) return;
  if (problem !== undefined) {
    effects.push({ kind: 'notSent', problem });
    scheduleRetry(context);
  } else if (ended === 'last' && (!facts.isReplayDue || facts.away !== undefined)) {
    enter(context, { mode: 'normal', reason: 'the primary is back, and has had what was backed up' });
  } else if (!isPastTime(state) && (!isDraining(state) || state.mode === 'error')) {
    restBackup(context);
  }
  pump(context);
}

/** Near the end of the backup: what comes waits, so that there is an end. */
function restBackup(context: StepContext): void {
  const { state } = context;
  state.replay = 'resting';
  if (state.next === undefined) settleInto(context, { mode: 'normal', reason: 'the primary is back' });
  if (state.writes.length === 0) enterNext(context);
}

function onDrain(context: StepContext): void {
  const { state, effects } = context;
  state.life = isPastTime(state) ? 'lastResort' : 'draining';
  effects.push({ kind: 'watch', deadline: isPastTime(state) ? 'backup' : 'primary' });
  pauseReplay(context);
  probe(context);
  pump(context);
}

/** At the end of the daemon's life: the next one goes on. What joins the backup last is waited for. */
function pauseReplay({ state, effects }: StepContext): void {
  if (state.replay === 'sending') effects.push({ kind: 'stopReplay' });
  if (state.replay !== 'resting') return;
  state.replay = 'none';
  if (state.next?.mode === 'normal') steady(state);
}

/**
 * The time to stop is nearly over: what the primary still has is handed back, and goes to the backup or is
 * left over.
 */
function onDeadline(context: StepContext): void {
  const { state, facts, effects } = context;
  const late: Target = isPastTime(state) ? 'backup' : 'primary';
  state.life = 'lastResort';
  cutReplay(context);
  if (mustGoToBackup(state, facts))
    enter(context, { mode: 'backup', reason: 'the time to stop is nearly over, and REJECTED has no room' });
  if (hasNowhereToGo(state)) {
    giveUp(context, 'the time to stop was over');
    return finishDraining(context);
  }
  // Closing is how a stream is made to hand back at once what hangs in it.
  effects.push({ kind: 'cut', target: late });
  if (late === 'primary') effects.push({ kind: 'watch', deadline: 'backup' });
  pump(context);
}

function onGiveUpPrimary(context: StepContext): void {
  const { state, facts, effects } = context;
  if (isPastTime(state)) return;
  state.life = isDraining(state) ? 'lastResort' : 'givenUp';
  effects.push({ kind: 'retry', as: 'never' });
  cutReplay(context);
  if (mustGoToBackup(state, facts))
    enter(context, { mode: 'backup', reason: 'its time is over, and REJECTED has no room' });
  if (!hasNowhereToGo(state)) effects.push({ kind: 'cut', target: 'primary' });
  pump(context);
}

function cutReplay({ state, effects }: StepContext): void {
  if (state.replay !== 'none') effects.push({ kind: 'stopReplay' }, { kind: 'cut', target: 'primary' });
}

function onChange({ state, effects }: StepContext): void {
  if (isChanging(state.step) || state.step === 'closing' || isDraining(state)) return;
  state.step = 'changing';
  state.next = undefined;
  effects.push({ kind: 'retry', as: 'never' }, { kind: 'closeToChange' });
}

function onClosed(context: StepContext): void {
  const { state } = context;
  if (state.step !== 'changing') return;
  state.step = 'emptying';
  if (haveEnded(state)) takeParts(context);
}

/** The new streams begin with nothing: all went back, and comes again in its order. */
function takeParts(context: StepContext): void {
  const { state, effects } = context;
  giveBackAll(context);
  const { leaving, life } = state;
  const isEnding = isDraining(state);
  Object.assign(state, newState(), { leaving, life: isEnding ? 'draining' : 'running' });
  effects.push({ kind: 'takeParts' });
  if (isEnding) effects.push({ kind: 'watch', deadline: 'primary' });
  if (life === 'givenUp') state.life = 'givenUp';
  effects.push({ kind: 'ready' });
}
