// The account of one bucket in one stream: every frame that came, by what became of it. At every moment
// `received` is the sum of the others.

export interface Account {
  /** Also what a previous run of the daemon has left. */
  received: number;
  /** Settled by the stream itself. */
  delivered: number;
  /** In memory, or in the spool. */
  queued: number;
  /** In the backup's files, for as long as they are there. */
  backedUp: number;
  slicedOut: number;
  /** Can never be delivered: kept with the reason of each. */
  rejected: number;
  /** Gone, where the configuration allows it, or because a disk or a hand destroyed them: see `Discards`. */
  discarded: number;
}

export function newAccount(): Account {
  return { received: 0, delivered: 0, queued: 0, backedUp: 0, slicedOut: 0, rejected: 0, discarded: 0 };
}

/** Frames that end elsewhere than they were. */
export function move(
  account: Account,
  frames: number,
  from: Exclude<keyof Account, 'received'>,
  to: Exclude<keyof Account, 'received'>,
): void {
  account[from] -= frames;
  account[to] += frames;
}

/** Frames that came, and how they ended at once. */
export function book(account: Account, frames: number, end: Exclude<keyof Account, 'received'>): void {
  account.received += frames;
  account[end] += frames;
}

/** As it is printed: `received 3, delivered 2, queued 1, …`. */
export function printed(account: Account): string {
  return Object.entries(account)
    .map(([what, frames]) => `${what} ${String(frames)}`)
    .join(', ');
}
