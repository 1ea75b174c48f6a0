// What a stream actor holds, on its way: to the primary, to the backup, aside, back to its bucket, or left
// over; and the end, once it holds nothing.
import { type StepContext, awayReason, enter, takeAll, takeLeft } from './streamModes.js';
import {
  type StreamState,
  type Write,
  canWriteAside,
  hasNowhereToGo,
  haveEnded,
  isDraining,
  isHolding,
  isPastTime,
  isPending,
} from './streamState.js';
import { type Target, type Waiting, isWhole } from './waiting.js';

/** So many batches' frames may wait for the backup while others go to the primary. */
const MOST_ASIDE = 16;

/** Writes what waits, as long as the mode stands and the stream has use for more. */
export function pump(context: StepContext): void {
  const { state, facts } = context;
  if (!isPending(state)) state.aside.push(...releaseEnded(context, state.writes));
  const target: Target = state.mode === 'backup' ? 'backup' : 'primary';
  while (mayWrite(context) && state.waiting.length > 0 && state.writes.length < facts.depth[target])
    write(context, state.writes, state.waiting.shift()!, target);
  pumpAside(context);
  tellAside(context, canWriteAside(state, facts) ? 0 : state.aside.length);
  if (hasNowhereToGo(state) && state.waiting.length > 0)
    return giveUp(context, state.problem ?? 'its time was over');
  finishDraining(context);
}

function mayWrite({ state, facts }: StepContext): boolean {
  const isAsideFull = canWriteAside(state, facts) && state.aside.length >= MOST_ASIDE;
  return state.step === 'steady' && state.mode !== 'error' && state.replay !== 'last' && !isAsideFull;
}

function pumpAside(context: StepContext): void {
  const { state, facts } = context;
  if (state.mode !== 'partial' || isPending(state)) return;
  if (state.backup === 'well') releaseEnded(context, state.asideWrites);
  while (
    canWriteAside(state, facts) &&
    state.aside.length > 0 &&
    state.asideWrites.length < facts.depth.backup
  )
    write(context, state.asideWrites, state.aside.shift()!, 'backup');
  // Past its time what is aside has nowhere to go.
  if (isPastTime(state) && !canWriteAside(state, facts) && haveEnded(state) && state.aside.length > 0)
    enter(context, { mode: 'error', reason: awayReason(facts) });
}

function tellAside({ state, effects }: StepContext, batches: number): void {
  if (batches === state.toldAside) return;
  state.toldAside = batches;
  effects.push({ kind: 'aside', batches });
}

function write({ effects }: StepContext, list: Write[], what: Waiting, target: Target): void {
  const begun: Write = { what, target, outcome: undefined };
  list.push(begun);
  effects.push({ kind: 'write', write: begun });
}

/**
 * Lets go what has ended, from the front on; only while none has failed. Returns, in order, the frames of
 * what is away.
 */
function releaseEnded(context: StepContext, writes: Write[]): Waiting[] {
  if (writes.length === 0 || writes[0]!.outcome === undefined) return [];
  const ended = writes.findIndex(({ outcome }) => outcome === undefined);
  return takeLeft(context, writes.splice(0, ended === -1 ? writes.length : ended));
}

/** Which list the write stands in; undefined: it is a failed predecessor's, and is written anew. */
export function listOf({ writes, asideWrites }: StreamState, wanted: Write): Write[] | undefined {
  return [writes, asideWrites].find((list) => list.includes(wanted));
}

/**
 * Batches of which nothing is settled go back from the end, while nothing can be written; they come again
 * when it can.
 */
export function giveBackWhole(context: StepContext): void {
  const { state } = context;
  if (state.mode !== 'error' || isPending(state) || isDraining(state)) return;
  while (state.waiting.length > 0 && isWhole(state.waiting.at(-1)!)) giveBack(context, state.waiting.pop()!);
}

/**
 * Its streams are closed, and nothing is outstanding: all goes back, whole batches and parts. What was picked
 * from a batch is a part, because nothing may hold the whole any more.
 */
export function giveBackAll(context: StepContext): void {
  tellAside(context, 0);
  for (const what of takeAll(context)) giveBack(context, what.isSliced ? { ...what, came: undefined } : what);
}

export function giveBack({ state, effects }: StepContext, what: Waiting): void {
  state.hasReturned = true;
  effects.push({ kind: 'giveBack', what });
}

export function giveUp(context: StepContext, reason: string): void {
  for (const what of context.state.waiting.splice(0)) leaveOver(context, what, reason, true);
}

export function leaveOver(
  { state, effects }: StepContext,
  what: Waiting,
  reason: string,
  isLate = false,
): void {
  state.leaving++;
  effects.push({ kind: 'leaveOver', what, reason, isLate });
}

export function finishDraining({ state, effects }: StepContext): void {
  const { step, leaving, replay } = state;
  if (!isDraining(state) || step === 'closing' || isPending(state)) return;
  if (isHolding(state) || leaving > 0 || replay !== 'none') return;
  state.step = 'closing';
  effects.push({ kind: 'retry', as: 'never' }, { kind: 'watch', deadline: 'none' }, { kind: 'end' });
}
