// What a connection is answered: a receipt, or a report. Promise: no frame is in a number of safe or
// delivered ones that is not known to be so.
//
//   receipt  u64 LE  frames of this connection that are safe
//   report   u32 LE  length | JSON: { level, frames, outcomes: { <outcome>: frames, … }, reasons: [ { outcome, reason, frames }, … ] }
//   each     u32 LE  length | JSON: { level, frames, each: [ { first, frames, outcome, … }, … ] }
import type { Receipt } from '../../intake/receipt.js';
import type { Fates } from '../../frames/origins.js';
import type { RecordOutcome } from '../../intake/ticket.js';
import type { OutcomeList } from './outcomeList.js';

export interface Question {
  readonly kind: 'receipt' | 'report';
  readonly receipt: Receipt;
  /** Frames of the connection before the question, bad ones too. */
  readonly all: number;
  /** How each of them ended, where that is asked. */
  readonly each?: OutcomeList | undefined;
}

export function answerTo({ kind, receipt, all, each }: Question, fates: Fates): Buffer {
  if (each !== undefined) return eachOf(each);
  return kind === 'receipt'
    ? receiptOf(receipt.frames - fates.counts.discarded)
    : reportOf(receipt.level, all, fates);
}

function receiptOf(safe: number): Buffer {
  const answer = Buffer.alloc(8);
  // Frames that came after the question may be among those discarded.
  answer.writeBigUInt64LE(BigInt(Math.max(0, safe)));
  return answer;
}

function reportOf(level: Receipt['level'], frames: number, fates: Fates): Buffer {
  const { rejected, discarded } = fates.counts;
  const outcomes =
    level === 'safe'
      ? { safe: Math.max(0, frames - rejected - discarded), rejected, discarded }
      : settledOutcomes(frames, fates);
  return jsonAnswer({ level, frames, outcomes, reasons: fates.reasons });
}

function eachOf(list: OutcomeList): Buffer {
  const { frames } = list;
  const each = list
    .take()
    .map((range) => ({ first: range.first, frames: range.frames, ...shown(range.outcome) }));
  return jsonAnswer({ level: 'settled', frames, each });
}

function shown({ kind: outcome, ...rest }: RecordOutcome): Readonly<Record<string, unknown>> {
  if (!('baseOffset' in rest)) return { outcome, ...rest };
  const { baseOffset, ...more } = rest;
  return { outcome, ...more, ...(baseOffset === undefined ? {} : { offset: Number(baseOffset) }) };
}

function jsonAnswer(value: object): Buffer {
  const json = Buffer.from(JSON.stringify(value));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([length, json]);
}

/**
 * What every stream is done with and has no other fate was delivered; unless some of that may not be known.
 */
function settledOutcomes(frames: number, { counts, isUncertain }: Fates): Readonly<Record<string, number>> {
  const { stored, slicedOut, rejected, discarded } = counts;
  const rest = Math.max(0, frames - stored - slicedOut - rejected - discarded);
  return {
    delivered: isUncertain ? 0 : rest,
    stored,
    slicedOut,
    rejected,
    discarded,
    unknown: isUncertain ? rest : 0,
  };
}
