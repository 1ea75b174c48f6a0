// SPOOL is not set: batches are in memory alone, and what is asked of their segments costs nothing.
import type { GrowingSegment, Spool, StreamNotes } from './spool.js';

const nothing = (): void => undefined;
const done = Promise.resolve();

export const NO_SEGMENT: GrowingSegment = {
  path: '',
  isOfPreviousRun: false,
  copy: 'none',
  safeBytes: 0,
  isWritten: true,
  completed: done,
  grow: nothing,
  seal: nothing,
  whenSafe: neverSafe,
  whenWritten: (run) => run(),
  remove: () => done,
};

export const NO_NOTES: StreamNotes = {
  areKept: false,
  hasSettled: () => false,
  note: nothing,
  flush: () => done,
};

export const NO_SPOOL: Spool = {
  safeWhen: 'settled',
  // What is in memory anyway need not wait there.
  window: Infinity,
  memory: { isTight: false, isOver: false, onPressure: () => nothing, onSqueeze: () => nothing },
  figures: undefined,
  isFailing: false,
  lock: () => done,
  open: () => Promise.resolve(new Map()),
  close: nothing,
  newSegment: () => NO_SEGMENT,
  read: () => Promise.reject(new Error('there is no spool to read it from')),
  notes: () => NO_NOTES,
  onFailing: () => nothing,
  onFull: () => nothing,
};

/** Its batch is never safe before it is settled: whoever waits goes by `safeWhen`. */
function neverSafe(): never {
  throw new Error('without a spool a frame is safe once it is settled');
}
