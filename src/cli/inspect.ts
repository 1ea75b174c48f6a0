// `kahe inspect FILE|FOLDER…`: what is in .bckstm files and segments of the spool, and where they are torn or damaged.
import { keyOf } from '../frames/bucketName.js';
import { errnoOf } from '../disk/fileSystem.js';
import type { FileWindow } from '../frames/fileWindow.js';
import { type ScanEnd, scanFrames } from '../frames/scan.js';
import { type Command, type CommandLine, UsageError } from './command.js';
import { FrameView, withFile } from './frameView.js';
import { type Found, JsonReport, type Report, type Sum, TableReport } from './inspectReports.js';
import { type Io, Lines } from './io.js';
import { filesBelow, isFolder } from './replay/files.js';

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'shows what is in .bckstm files, and where they are torn',
  operands: 'FILE|FOLDER...',
  options: {
    bucket: {
      value: 'NAME',
      isRepeatable: true,
      help: 'only frames of this bucket; may be given several times',
    },
    values: { help: 'messages whole; without it the table has their beginning' },
    summary: { help: 'only the sums of each bucket' },
    json: {
      help: 'a JSON object on a line for each frame, with exact numbers; "base64" names the fields that are no text',
    },
  },
  examples: [
    'kahe inspect data/requests',
    'kahe inspect --json --bucket requests backup.bckstm | jq .message',
  ],
  exitCodes: {
    0: 'every file is whole',
    1: "a file is torn, damaged, or can't be read",
    2: 'a wrong command line',
  },
  run: inspect,
};

async function inspect(line: CommandLine, io: Io): Promise<number> {
  if (line.operands.length === 0)
    throw new UsageError('name a file or a folder, as: kahe inspect data/requests');
  const lines = new Lines(io.out);
  const options = { values: line.has('values'), summary: line.has('summary') };
  const report = line.has('json') ? new JsonReport(lines, options) : new TableReport(lines, options);
  const buckets = line.has('bucket') ? new Set(line.texts('bucket').map(keyOf)) : undefined;
  let exitCode = 0;
  for (const { path, isNamed, problem } of line.operands.flatMap(filesOf)) {
    try {
      if (problem !== undefined) throw problem;
      const isWhole = await withFile(path, (window) =>
        show(path, window, { report, buckets, isSummary: options.summary }),
      );
      if (!isWhole) exitCode = 1;
    } catch (error) {
      // Delivered, and removed by the daemon since its folder was read.
      if (!isNamed && errnoOf(error) === 'ENOENT') continue;
      await lines.flush();
      await io.err.write(`kahe inspect: ${path}: ${(error as Error).message}\n`);
      exitCode = 1;
    }
  }
  await lines.flush();
  return exitCode;
}

interface Candidate {
  readonly path: string;
  /** On the command line. */
  readonly isNamed: boolean;
  /** Why its files are not known. */
  readonly problem?: Error;
}

/** What an operand means: a file, or the .bckstm files of a folder, oldest first. */
function filesOf(operand: string): readonly Candidate[] {
  try {
    const files = isFolder(operand) ? filesBelow(operand) : [];
    return files.length > 0
      ? files.map(({ path }) => ({ path, isNamed: false }))
      : [{ path: operand, isNamed: true }];
  } catch (error) {
    return [{ path: operand, isNamed: true, problem: error as Error }];
  }
}

interface Showing {
  readonly report: Report;
  /** Undefined: all. */
  readonly buckets: ReadonlySet<string> | undefined;
  readonly isSummary: boolean;
}

/** @returns is the file whole? */
async function show(
  file: string,
  window: FileWindow,
  { report, buckets, isSummary }: Showing,
): Promise<boolean> {
  const tally = new Tally();
  await report.open(file);
  const scan = scanFrames(window);
  for (let next = scan.next(); ; next = scan.next()) {
    if (next.done === true) {
      await report.close(file, tally.found(next.value));
      return next.value.tornBytes === 0 && tally.damages === 0;
    }
    const entry = next.value;
    if (entry.kind !== 'frame') {
      tally.other(entry.kind);
      await report.other(entry);
      continue;
    }
    const view = new FrameView(window, entry);
    const bucket = view.bucket().toString('latin1');
    if (buckets?.has(bucket) === false) continue;
    tally.frame(bucket, entry.bytes);
    if (!isSummary) await report.frame(view);
  }
}

/** So many names are told apart; a file that is none must not make this grow. */
const MOST_BUCKETS = 100_000;

class Tally {
  readonly #sums = new Map<string, Sum>();
  #bad = 0;
  damages = 0;

  frame(bucket: string, bytes: number): void {
    const name = this.#sums.has(bucket) || this.#sums.size < MOST_BUCKETS ? bucket : '(other buckets)';
    const sum = this.#sums.get(name);
    if (sum === undefined) {
      this.#sums.set(name, { frames: 1, bytes });
      return;
    }
    sum.frames++;
    sum.bytes += bytes;
  }

  other(kind: 'bad' | 'checkpoint' | 'damage'): void {
    if (kind === 'bad') this.#bad++;
    if (kind === 'damage') this.damages++;
  }

  found(end: ScanEnd): Found {
    return { sums: this.#sums, badFrames: this.#bad, damages: this.damages, end };
  }
}
