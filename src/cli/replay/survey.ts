// The first look at a file: what can be sent of it, what can't, and where it ends. Only then is anything
// sent, for a damaged piece of a segment shows at its end.
import type { FileWindow } from '../../frames/fileWindow.js';
import { PREFIX_BYTES } from '../../frames/frame.js';
import { type ScanEnd, type ScanEntry, scanFrames } from '../../frames/scan.js';
import { FrameView } from '../frameView.js';

export interface Extent {
  readonly start: number;
  readonly end: number;
}

/** Which frames are sent: those of these buckets (undefined: all), and not longer than the target takes. */
export interface Choice {
  /** Names as they stand in frames, byte for byte (latin1). */
  readonly buckets: ReadonlySet<string> | undefined;
  readonly maxFrameBytes: number;
}

export interface Survey {
  /** From where it was asked for: frames to send, by bucket. */
  readonly frames: number;
  readonly buckets: ReadonlyMap<string, number>;
  /** In the whole file: what is not sent. */
  readonly bad: number;
  readonly tooLarge: number;
  readonly ofOtherBuckets: number;
  /** Pieces of a segment whose checksum does not fit, in order. */
  readonly damages: readonly Extent[];
  /** These, and checkpoints that only their place tells, in order: what no frame can be read from. */
  readonly skips: readonly Extent[];
  readonly end: ScanEnd;
}

/** So many entries are looked at before others have their turn: signals, above all. */
const AT_ONCE = 20_000;

/** @param isStopped asked now and then; true ends the look early, with what it has */
export async function surveyFile(
  window: FileWindow,
  from: number,
  choice: Choice,
  isStopped: () => boolean,
): Promise<Survey> {
  const tally = new SurveyTally(window, from, choice);
  const scan = scanFrames(window);
  for (let seen = 1; ; seen++) {
    const next = scan.next();
    if (next.done === true) return tally.survey(next.value);
    const entry = next.value;
    if (entry.kind === 'frame') tally.frame(new FrameView(window, entry));
    else if (entry.kind === 'bad') tally.bad++;
    else if (entry.kind === 'checkpoint') tally.checkpoint(entry);
    else tally.damage({ start: entry.offset, end: entry.offset + entry.bytes });
    if (seen % AT_ONCE !== 0) continue;
    await new Promise((resolve) => setImmediate(resolve));
    if (isStopped()) return tally.survey({ wholeBytes: from, tornBytes: 0, reason: '' });
  }
}

export function isChosen(choice: Choice, bucket: string): boolean {
  return choice.buckets === undefined || choice.buckets.has(bucket);
}

class SurveyTally {
  bad = 0;
  #tooLarge = 0;
  #others = 0;
  readonly #damages: Extent[] = [];
  readonly #skips: Extent[] = [];
  /** Of the piece that is being read, which may turn out to be damaged, and of all before it. */
  readonly #inPiece = new Map<string, number>();
  readonly #sums = new Map<string, number>();

  constructor(
    readonly window: FileWindow,
    readonly from: number,
    readonly choice: Choice,
  ) {}

  frame(view: FrameView): void {
    const { offset, bytes } = view.frame;
    const bucket = view.bucket().toString('latin1');
    if (!isChosen(this.choice, bucket)) this.#others++;
    else if (bytes - PREFIX_BYTES > this.choice.maxFrameBytes) this.#tooLarge++;
    else if (offset >= this.from) this.#inPiece.set(bucket, (this.#inPiece.get(bucket) ?? 0) + 1);
  }

  /** The piece before it was as it was written. */
  checkpoint({ offset, bytes, isWhole, hasHead }: Extract<ScanEntry, { kind: 'checkpoint' }>): void {
    if (!isWhole) return;
    this.#keepPiece();
    if (!hasHead) this.#skips.push({ start: offset, end: offset + bytes });
  }

  #keepPiece(): void {
    for (const [bucket, frames] of this.#inPiece)
      this.#sums.set(bucket, (this.#sums.get(bucket) ?? 0) + frames);
    this.#inPiece.clear();
  }

  damage(extent: Extent): void {
    this.#damages.push(extent);
    this.#skips.push(extent);
    this.#inPiece.clear();
  }

  survey(end: ScanEnd): Survey {
    this.#keepPiece();
    const frames = [...this.#sums.values()].reduce((sum, each) => sum + each, 0);
    return {
      frames,
      buckets: this.#sums,
      bad: this.bad,
      tooLarge: this.#tooLarge,
      ofOtherBuckets: this.#others,
      damages: this.#damages,
      skips: this.#skips,
      end,
    };
  }
}
