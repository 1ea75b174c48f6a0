// Which connection frames came on, so that it hears what became of those that were not delivered: what a
// receipt and a report say of them. A connection has a number; runs and batches carry it. Promise: what is
// not known of a frame is never taken for delivered.

/** How a frame may end otherwise than delivered. `stored`: in a backup. */
export type Fate = 'stored' | 'slicedOut' | 'rejected' | 'discarded';

/** By connection: how many of some frames came on it. */
export type FramesByOrigin = ReadonlyMap<number, number>;

/** Frames of no connection that is here: of a previous run, or of a stream that is not reported. */
export const NOBODY = 0;
/** Frames that came on connections of this run, of which it is forgotten on which. */
export const UNKNOWN = 1;

/** Those of the first that are not among the second. */
export function without(all: FramesByOrigin, some: FramesByOrigin): FramesByOrigin {
  return new Map(
    [...all]
      .map(([origin, frames]) => [origin, frames - (some.get(origin) ?? 0)] as const)
      .filter(([, frames]) => frames > 0),
  );
}

export interface FateReason {
  readonly outcome: 'rejected' | 'discarded';
  readonly reason: string;
  frames: number;
}

/** Reasons may hold what a client chose, so their number is bounded. */
const MOST_REASONS = 64;

/** What became of one connection's frames. */
export class Fates {
  readonly counts: Record<Fate, number> = { stored: 0, slicedOut: 0, rejected: 0, discarded: 0 };
  /** Made with the first one: of most connections all is delivered. */
  #reasons: Map<string, FateReason> | undefined;
  /** Bytes, and rejections, that wait to be kept. */
  unkeptBytes = 0;
  #unkept = 0;
  readonly #origins: Origins;
  readonly #unknownBefore: number;

  /** @param onChange called when frames are kept, or can't be just now */
  constructor(
    origins: Origins,
    readonly id: number,
    readonly onChange: () => void,
  ) {
    this.#origins = origins;
    this.#unknownBefore = origins.unknown;
  }

  /** Nothing that was rejected waits to be kept. */
  get isKept(): boolean {
    return this.#unkept === 0;
  }

  /** Frames may have ended otherwise than delivered without being counted here. */
  get isUncertain(): boolean {
    return this.#origins.unknown !== this.#unknownBefore;
  }

  get reasons(): readonly FateReason[] {
    return [...(this.#reasons?.values() ?? [])];
  }

  hold(bytes: number): void {
    this.#unkept++;
    this.unkeptBytes += bytes;
  }

  letGo(bytes: number): void {
    this.#unkept--;
    this.unkeptBytes -= bytes;
    this.onChange();
  }

  ended(fate: Fate, frames: number, reason: string | undefined): void {
    this.counts[fate] += frames;
    if (reason === undefined || (fate !== 'rejected' && fate !== 'discarded')) return;
    const reasons = (this.#reasons ??= new Map<string, FateReason>());
    const key = `${fate} ${reason}`;
    const isRoom = reasons.has(key) || reasons.size < MOST_REASONS - 2;
    const name = isRoom ? key : `${fate} `;
    const known = reasons.get(name);
    if (known === undefined)
      reasons.set(name, { outcome: fate, reason: isRoom ? reason : 'other reasons', frames });
    else known.frames += frames;
  }
}

/** The connections that are open. */
export class Origins {
  readonly #open = new Map<number, Fates>();
  #last = UNKNOWN;
  #unknown = 0;

  /** How often frames of unknown origin ended otherwise than delivered. */
  get unknown(): number {
    return this.#unknown;
  }

  open(onChange: () => void): Fates {
    do this.#last = this.#last >= 0xffff_ffff ? UNKNOWN + 1 : this.#last + 1;
    while (this.#open.has(this.#last));
    const fates = new Fates(this, this.#last, onChange);
    this.#open.set(fates.id, fates);
    return fates;
  }

  close(fates: Fates): void {
    this.#open.delete(fates.id);
  }

  ended(frames: FramesByOrigin | undefined, fate: Fate, reason?: string): void {
    if (frames === undefined) return;
    for (const [id, count] of frames) {
      if (id === UNKNOWN) this.#unknown++;
      else this.#open.get(id)?.ended(fate, count, reason);
    }
  }

  /** Rejected frames of theirs wait to be kept. */
  hold(frames: FramesByOrigin | undefined, bytes: number): void {
    for (const id of frames?.keys() ?? []) this.#open.get(id)?.hold(bytes);
  }

  letGo(frames: FramesByOrigin | undefined, bytes: number): void {
    for (const id of frames?.keys() ?? []) this.#open.get(id)?.letGo(bytes);
  }

  /** Whether rejected frames can be kept is another thing now. */
  changed(all: readonly (FramesByOrigin | undefined)[]): void {
    for (const id of new Set(all.flatMap((frames) => [...(frames?.keys() ?? [])])))
      this.#open.get(id)?.onChange();
  }
}
