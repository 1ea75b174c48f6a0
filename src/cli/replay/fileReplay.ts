// The replay of one file: what an earlier run has noted, a survey, the transfer, and what is said of it.
import { fstatSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../../clock.js';
import { explained } from '../../disk/ioAdvice.js';
import { nodeFileSystem } from '../../disk/fileSystem.js';
import { syncing } from '../../disk/syncing.js';
import type { FileWindow } from '../../frames/fileWindow.js';
import { plural } from '../../plural.js';
import { withFile } from '../frameView.js';
import type { Progress } from '../progress.js';
import { bytesText, countText, counted, framesText, lineOf } from '../units.js';
import type { InputFile } from './files.js';
import {
  NoteKeeper,
  type NoteOwner,
  type ReplayNote,
  headOf,
  loadNote,
  notePath,
  refusalOf,
} from './note.js';
import type { Pace } from './pace.js';
import type { StopSignal } from './stopSignal.js';
import { type Choice, type Survey, surveyFile } from './survey.js';
import type { Target } from './target.js';
import { type Position, Transfer } from './transfer.js';

export interface FileReplayOptions {
  readonly target: Target;
  readonly choice: Choice;
  /** As given, for the note; null: all. */
  readonly bucketNames: readonly string[] | null;
  readonly notesFolder: string | undefined;
  readonly isAgain: boolean;
  readonly isDry: boolean;
  readonly pace: Pace;
  readonly progress: Progress;
  readonly stop: StopSignal;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export interface FileOutcome {
  /** Safe in this run; of a dry run, what would have been sent. */
  readonly frames: number;
  /** All of the file that can be sent is safe, and nothing in it is torn, damaged or bad. */
  readonly isWhole: boolean;
  /** Everything in the file is safe: it may be removed. */
  readonly mayGo: boolean;
  readonly noteKeeper: NoteKeeper;
  /** Of the file, when it was opened. */
  readonly bytes: number;
}

/** Not more than this is ever on its way: what a crash repeats. */
const LIMITS = { bytes: 1024 * 1024, frames: 10_000 };
const START: Position = { position: 0, frames: 0 };

/** @throws Error the file or its note can't be used; GaveUpError */
export function replayFile(file: InputFile, options: FileReplayOptions): Promise<FileOutcome> {
  return withFile(file.path, (window) => new FileReplay(file, window, options).run());
}

class FileReplay {
  readonly #file: InputFile;
  readonly #window: FileWindow;
  readonly #options: FileReplayOptions;
  readonly #owner: NoteOwner;
  readonly #keeper: NoteKeeper;

  constructor(file: InputFile, window: FileWindow, options: FileReplayOptions) {
    this.#file = file;
    this.#window = window;
    this.#options = options;
    const { dev, ino } = fstatSync(window.fd, { bigint: true });
    this.#owner = {
      device: String(dev),
      inode: String(ino),
      target: options.target.name,
      buckets: options.bucketNames,
    };
    const note = notePath(file.path, options.notesFolder);
    this.#keeper = new NoteKeeper(
      syncing(nodeFileSystem, {
        place: dirname(note),
        isSynced: true,
        log: { warn: (text) => options.progress.say(text) },
      }),
      note,
    );
  }

  async run(): Promise<FileOutcome> {
    const { choice, stop, isDry, progress } = this.#options;
    const from = await this.#from();
    progress.advance(from.position, 0);
    const survey = await surveyFile(this.#window, from.position, choice, () => stop.hasStopped());
    const safe =
      isDry || survey.frames === 0 || stop.hasStopped() ? undefined : await this.#send(from, survey);
    const isBehind = survey.end.wholeBytes > from.position;
    if (!isDry && survey.frames === 0 && isBehind && !stop.hasStopped())
      await this.#note({ ...from, position: survey.end.wholeBytes });
    const frames = isDry ? survey.frames : (safe?.frames ?? from.frames) - from.frames;
    this.#tell(from, survey, frames);
    const isSent = !isDry && !stop.hasStopped() && frames === survey.frames;
    const isWhole =
      survey.end.tornBytes === 0 && survey.damages.length === 0 && survey.bad === 0 && survey.tooLarge === 0;
    const discarded = (safe ?? from).discarded ?? 0;
    if (!isDry && discarded > 0)
      progress.say(
        `${this.#file.path}: ${framesText(discarded)} of it ${plural(discarded, 'was', 'were')} discarded (REJECTED_FULL=drop), and ${plural(discarded, 'is', 'are')} only here; make room in REJECTED, and send it again with --again`,
      );
    return {
      frames,
      isWhole: isWhole && (isDry || (isSent && discarded === 0)),
      mayGo: isSent && isWhole && discarded === 0 && survey.ofOtherBuckets === 0,
      noteKeeper: this.#keeper,
      bytes: this.#window.size,
    };
  }

  /** Where an earlier run has come to. */
  async #from(): Promise<Position> {
    if (this.#options.isAgain) return START;
    let note: ReplayNote | undefined;
    try {
      note = await loadNote(nodeFileSystem, this.#keeper.path);
    } catch (error) {
      throw new Error(`its note ${this.#keeper.path} can't be read: ${explained(error)}`, { cause: error });
    }
    if (note === undefined) return START;
    const refusal = refusalOf(note, this.#owner, this.#window);
    if (refusal === undefined) return note;
    this.#options.progress.say(`${this.#file.path}: ${refusal}, so it starts anew`);
    return START;
  }

  async #send(from: Position, survey: Survey): Promise<Position> {
    const { target, choice, progress, pace, stop, timeoutMs, clock } = this.#options;
    // Before anything is sent: a note that can't be written would make the next run repeat everything.
    await this.#note(from);
    const transfer = new Transfer({
      window: this.#window,
      pieces: { to: survey.end.wholeBytes, skips: survey.skips, choice },
      from,
      target,
      limits: LIMITS,
      pace,
      note: (safe) => this.#note(safe),
      onSafe: (bytes, frames) => progress.advance(bytes, frames),
      say: (text) => progress.say(text),
      stop,
      timeoutMs,
      clock,
    });
    try {
      await transfer.run();
    } catch (error) {
      const frames = transfer.safe.frames - from.frames;
      throw new Error(
        `${(error as Error).message}. ${framesText(frames)} of it ${plural(frames, 'is', 'are')} safe and noted: the same command goes on behind them`,
        { cause: error },
      );
    }
    return transfer.safe;
  }

  async #note(safe: Position): Promise<void> {
    try {
      await this.#keeper.save({
        ...this.#owner,
        ...safe,
        size: this.#window.size,
        head: headOf(this.#window, safe.position),
      });
    } catch (error) {
      throw new Error(
        `how far it was sent can't be noted in ${this.#keeper.path}: ${explained(error)}; --notes DIR names another folder for that`,
        { cause: error },
      );
    }
  }

  #tell(from: Position, survey: Survey, frames: number): void {
    const { progress, isDry, stop, target } = this.#options;
    const path = this.#file.path;
    const before = from.frames > 0 ? `; ${countText(from.frames)} before (${this.#keeper.path})` : '';
    if (isDry) {
      const buckets = [...survey.buckets]
        .slice(0, MOST_NAMED)
        .map(([bucket, count]) => `${lineOf(Buffer.from(bucket, 'latin1'))} ${countText(count)}`)
        .join(', ');
      progress.tell(
        `${path}: would send ${framesText(frames)} to ${target.name}${buckets === '' ? '' : ` (${buckets}${survey.buckets.size > MOST_NAMED ? ', …' : ''})`}${before}`,
      );
    } else if (frames === 0 && !stop.hasStopped()) {
      progress.tell(
        `${path}: ${from.frames > 0 ? `all of it (${framesText(from.frames)}) was sent before (${this.#keeper.path}); --again sends them once more` : 'there is nothing to send in it'}`,
      );
    } else {
      progress.tell(`${path}: ${framesText(frames)} sent and confirmed${before}`);
    }
    if (!stop.hasStopped()) for (const line of problemsOf(survey)) progress.say(`${path}: ${line}`);
  }
}

const MOST_NAMED = 10;

/** What of the file is not sent, and why. */
function problemsOf({ bad, tooLarge, damages, end }: Survey): string[] {
  const problems: string[] = [];
  if (bad > 0)
    problems.push(`${framesText(bad)} with lengths that make no sense ${plural(bad, 'is', 'are')} left out`);
  if (tooLarge > 0)
    problems.push(
      `${framesText(tooLarge)} larger than the daemon takes (MAXFRAME) ${plural(tooLarge, 'is', 'are')} left out; --stream sends ${plural(tooLarge, 'it', 'them')}`,
    );
  for (const { start, end: until } of damages.slice(0, MOST_NAMED))
    problems.push(
      `damaged from offset ${start} to ${until} (the checksum does not fit, or no frame stands there): ${bytesText(until - start)} are left out`,
    );
  if (damages.length > MOST_NAMED)
    problems.push(
      `… and ${damages.length - MOST_NAMED} more damaged ${plural(damages.length - MOST_NAMED, 'place')}`,
    );
  if (end.tornBytes > 0)
    problems.push(
      `torn at offset ${end.wholeBytes}: ${end.reason}; its end (${counted(end.tornBytes, 'byte')}) is left out`,
    );
  return problems;
}
