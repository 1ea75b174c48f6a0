// How `kahe inspect` shows what it finds: as a table for people, or as JSON, a line for each thing found.
import { frameJson, textOf } from '../frames/frameText.js';
import type { ScanEnd, ScanEntry } from '../frames/scan.js';
import type { FrameView } from './frameView.js';
import { type Lines, painted } from './io.js';
import { bytesText, countText, counted, cut, framesText, lineOf } from './units.js';

export interface Sum {
  frames: number;
  bytes: number;
}

export interface Found {
  /** Frames by bucket, as far as they were to be shown. */
  readonly sums: ReadonlyMap<string, Sum>;
  readonly badFrames: number;
  readonly damages: number;
  readonly end: ScanEnd;
}

export interface Report {
  open(file: string): Promise<void>;
  /** Not called for the sums alone. */
  frame(view: FrameView): Promise<void>;
  other(entry: Exclude<ScanEntry, { kind: 'frame' }>): Promise<void>;
  close(file: string, found: Found): Promise<void>;
}

export interface ReportOptions {
  /** Messages whole, however long. */
  readonly values: boolean;
  /** The sums alone. */
  readonly summary: boolean;
}

const BEGINNING = 60;
const WIDEST = 40;

export class TableReport implements Report {
  constructor(
    readonly lines: Lines,
    readonly options: ReportOptions,
  ) {}

  async open(): Promise<void> {
    if (!this.options.summary)
      await this.lines.add(row('OFFSET', 'KIND', 'BUCKET', 'KEY', 'SIZE', 'MESSAGE'));
  }

  async frame(view: FrameView): Promise<void> {
    const { offset, kind } = view.frame;
    const key = view.key();
    await this.lines.add(
      row(
        String(offset),
        kind,
        lineOf(view.bucket()),
        key === null ? '-' : key.length === 0 ? '""' : lineOf(key),
        bytesText(view.messageBytes),
        this.#message(view),
      ),
    );
    const more = view.full === undefined ? '' : fullText(view.full, this.options.values ? Infinity : WIDEST);
    if (more !== '') await this.lines.add(`${' '.repeat(11)} ${more}`);
  }

  #message(view: FrameView): string {
    const most = this.options.values ? Infinity : BEGINNING * 4;
    const message = view.message(most);
    if (message === null) return '(null)';
    const text = lineOf(message, view.messageBytes > most);
    return this.options.values ? text : cut(text, BEGINNING);
  }

  async other(entry: Parameters<Report['other']>[0]): Promise<void> {
    if (this.options.summary && entry.kind !== 'damage') return;
    const { kind, offset, bytes } = entry;
    switch (kind) {
      case 'bad':
        return this.lines.add(
          row(String(offset), kind, '-', '-', bytesText(bytes), this.#paint(entry.reason)),
        );
      case 'checkpoint': {
        const says = `${timeText(entry.timeMs)}, ${framesText(entry.frames)}, checksum ${entry.isWhole ? 'fits' : this.#paint('DOES NOT FIT')}`;
        return this.lines.add(row(String(offset), kind, '-', '-', bytesText(bytes), says));
      }
      case 'damage':
        return this.lines.add(
          this.#paint(
            `damaged: ${counted(bytes, 'byte')} from offset ${offset} on: ${entry.reason}; it goes on at offset ${offset + bytes}`,
          ),
        );
    }
  }

  async close(
    file: string,
    { sums, badFrames, end: { wholeBytes, tornBytes, reason } }: Found,
  ): Promise<void> {
    const list = [...sums];
    if (this.options.summary) {
      await this.lines.add(sumRow('BUCKET', 'FRAMES', 'BYTES'));
      for (const [bucket, { frames, bytes }] of list)
        await this.lines.add(
          sumRow(lineOf(Buffer.from(bucket, 'latin1')), countText(frames), bytesText(bytes)),
        );
    }
    const frames = list.reduce((sum, [, each]) => sum + each.frames, 0);
    const bad = badFrames === 0 ? '' : `; ${countText(badFrames)} bad`;
    await this.lines.add(
      `${file}: ${framesText(frames)}, ${bytesText(list.reduce((sum, [, each]) => sum + each.bytes, 0))}${bad}`,
    );
    if (tornBytes > 0)
      await this.lines.add(
        this.#paint(
          `${file}: torn at offset ${wholeBytes}: ${reason}; its end (${counted(tornBytes, 'byte')}) is no whole frame`,
        ),
      );
  }

  #paint(text: string): string {
    return painted(this.lines.output, 'red', text);
  }
}

type Cells = readonly [
  offset: string,
  kind: string,
  bucket: string,
  key: string,
  size: string,
  message: string,
];

function row(...[offset, kind, bucket, key, size, message]: Cells): string {
  return [
    offset.padEnd(11),
    kind.padEnd(11),
    cut(bucket, WIDEST).padEnd(16),
    cut(key, WIDEST).padEnd(12),
    size.padStart(8),
    '',
    message,
  ]
    .join(' ')
    .trimEnd();
}

function sumRow(bucket: string, frames: string, bytes: string): string {
  return `${cut(bucket, 60).padEnd(24)} ${frames.padStart(12)} ${bytes.padStart(9)}`;
}

/** What only a full frame says, as far as it does. */
function fullText(
  { partition, timestampMs, headers }: NonNullable<FrameView['full']>,
  widest: number,
): string {
  const shown = headers.map(([name, value]) => {
    const text = value === null ? '(null)' : cut(lineOf(value), widest);
    return `${cut(lineOf(Buffer.from(name)), widest)}=${text}`;
  });
  return [
    ...(partition < 0 ? [] : [`partition ${partition}`]),
    ...(timestampMs < 0 ? [] : [timeText(timestampMs)]),
    ...shown,
  ].join(', ');
}

function timeText(timeMs: number): string {
  return Math.abs(timeMs) <= 8.64e15 ? new Date(timeMs).toISOString() : `${timeMs} ms`;
}

export class JsonReport implements Report {
  #file = '';

  constructor(
    readonly lines: Lines,
    readonly options: ReportOptions,
  ) {}

  open(file: string): Promise<void> {
    this.#file = file;
    return Promise.resolve();
  }

  async frame(view: FrameView): Promise<void> {
    const { offset, kind } = view.frame;
    const parts = frameJson({
      bucket: view.bucket(),
      key: view.key(),
      size: view.messageBytes,
      message: view.message(),
      ...(view.full === undefined ? {} : { full: view.full }),
    });
    await this.#add({ file: this.#file, offset, kind, ...parts });
  }

  async other(entry: Parameters<Report['other']>[0]): Promise<void> {
    if (this.options.summary && entry.kind !== 'damage') return;
    const { kind, offset, bytes } = entry;
    const place = { file: this.#file, offset, kind, bytes };
    if (kind !== 'checkpoint') await this.#add({ ...place, reason: entry.reason });
    else
      await this.#add({ ...place, time: timeText(entry.timeMs), frames: entry.frames, fits: entry.isWhole });
  }

  async close(
    file: string,
    { sums, badFrames, end: { wholeBytes, tornBytes, reason } }: Found,
  ): Promise<void> {
    if (this.options.summary) {
      for (const [key, { frames, bytes }] of sums) {
        const [name, text] = [Buffer.from(key, 'latin1'), textOf(Buffer.from(key, 'latin1'))];
        await this.#add({
          file,
          kind: 'sum',
          bucket: text ?? name.toString('base64'),
          frames,
          bytes,
          ...(text === undefined ? { base64: ['bucket'] } : {}),
        });
      }
      if (badFrames > 0) await this.#add({ file, kind: 'bad', frames: badFrames });
    }
    if (tornBytes > 0) await this.#add({ file, offset: wholeBytes, kind: 'torn', bytes: tornBytes, reason });
  }

  #add(object: object): Promise<void> {
    return this.lines.add(JSON.stringify(object));
  }
}
