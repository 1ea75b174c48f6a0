// What became of frames, in words: the last line of `kahe send` and `kahe replay`. Promise: "delivered" is
// said of nothing else.
import { escaped, countText, framesText } from './units.js';

/** As the daemon reports it: docs/protocol.md. */
export interface Report {
  readonly level: 'safe' | 'settled';
  readonly frames: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly reasons: readonly { readonly outcome: string; readonly reason: string; readonly frames: number }[];
}

const MOST_REASONS = 3;

/** In this order. */
const WORDS: readonly (readonly [outcome: string, words: string])[] = [
  ['delivered', 'delivered'],
  ['stored', 'in a backup'],
  ['slicedOut', 'sliced out'],
  ['unknown', 'settled'],
  ['safe', 'safe, not all delivered yet'],
  ['rejected', 'rejected'],
  ['discarded', 'discarded'],
];

/** Frames that were not taken as they should be: a script must hear of them. */
export function refusedIn({ outcomes }: Report): number {
  return (outcomes['rejected'] ?? 0) + (outcomes['discarded'] ?? 0);
}

/** With frames of connections that are gone: they are safe, and what became of them is not known. */
export function withEarlier(report: Report, frames: number): Report {
  if (frames === 0) return report;
  const { outcomes } = report;
  return {
    ...report,
    frames: report.frames + frames,
    outcomes: { ...outcomes, safe: (outcomes['safe'] ?? 0) + frames },
  };
}

/**
 * As "200 frames: 100 delivered, 100 rejected (over the rate limit …)".
 * @param rejected how rejected frames are called
 */
export function outcomeLine(report: Report, rejected = 'rejected'): string {
  const parts = WORDS.flatMap(([outcome, words]) => {
    const frames = report.outcomes[outcome] ?? 0;
    return frames === 0
      ? []
      : [`${countText(frames)} ${outcome === 'rejected' ? rejected : words}${whyOf(report, outcome)}`];
  });
  return `${framesText(report.frames)}: ${parts.length === 0 ? 'nothing to deliver' : parts.join(', ')}`;
}

function whyOf({ reasons, outcomes }: Report, outcome: string): string {
  const own = reasons.filter((reason) => reason.outcome === outcome);
  if (own.length === 0) return '';
  const told = own
    .slice(0, MOST_REASONS)
    .map(({ reason, frames }) =>
      frames === outcomes[outcome] ? escaped(reason) : `${countText(frames)} ${escaped(reason)}`,
    );
  return ` (${told.join('; ')}${own.length > MOST_REASONS ? '; …' : ''})`;
}
