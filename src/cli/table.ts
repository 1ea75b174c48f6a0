// A table that fits its terminal: what can be done without goes first, then texts are cut; elsewhere it is as
// wide as it likes.
import { type Output } from './io.js';
import { cutToWidth, padToWidth, widthOf } from './textWidth.js';

export interface Column<Row> {
  readonly head: string;
  /** At which side its texts stand. */
  readonly side: 'left' | 'right';
  readonly text: (row: Row) => string;
  readonly paint?: (text: string, row: Row) => string;
  /** May be cut down to this width; undefined: not at all. */
  readonly atLeast?: number;
  /**
   * Left out where there is no room: those first that are 0 all the way down, then the highest; undefined:
   * never.
   */
  readonly spare?: number;
}

const GAP = '  ';

/** The room that lines have: all of it where nobody has to read them on a screen. */
export function roomOf(output: Output): number {
  return output.isTerminal ? output.columns : Infinity;
}

/** @returns its lines, the head first; none is wider than `room` */
export function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[], room: number): string[] {
  const filled = columns.map((column) => {
    const texts = rows.map((row) => column.text(row));
    return { column, texts, width: Math.max(widthOf(column.head), ...texts.map(widthOf)) };
  });
  const shown = fitted(filled, room);
  const line = (cell: (each: Filled<Row>) => string): string => shown.map(cell).join(GAP).trimEnd();
  const head = line(({ column, width }) => padToWidth(cutToWidth(column.head, width), width, column.side));
  return [
    head,
    ...rows.map((row, index) =>
      line(({ column, texts, width }) => {
        const text = padToWidth(cutToWidth(texts[index]!, width), width, column.side);
        return column.paint?.(text, row) ?? text;
      }),
    ),
  ];
}

interface Filled<Row> {
  readonly column: Column<Row>;
  readonly texts: readonly string[];
  readonly width: number;
}

function fitted<Row>(all: readonly Filled<Row>[], room: number): readonly Filled<Row>[] {
  let shown = all;
  while (leastOf(shown) > room) {
    const spare = Math.max(...shown.map(spareOf));
    // Nothing can be spared any more: what stands at the right goes.
    const gone = spare === -Infinity ? shown.at(-1)! : shown.find((each) => spareOf(each) === spare)!;
    if (shown.length === 1) return [{ ...gone, width: room }];
    shown = shown.filter((each) => each !== gone);
  }
  let tooMuch = sumOf(shown.map(({ width }) => width)) - room;
  // From the right: the first columns say what a row is about.
  return [...shown]
    .reverse()
    .map((each) => {
      const taken = Math.max(0, Math.min(tooMuch, each.width - leastWidth(each)));
      tooMuch -= taken;
      return { ...each, width: each.width - taken };
    })
    .reverse();
}

function spareOf<Row>({ column: { spare }, texts }: Filled<Row>): number {
  if (spare === undefined) return -Infinity;
  return texts.every((text) => SAYS_NOTHING.has(text)) ? spare + 100 : spare;
}

const SAYS_NOTHING: ReadonlySet<string> = new Set(['', '-', '0', '0 B']);

function leastOf<Row>(shown: readonly Filled<Row>[]): number {
  return sumOf(shown.map(leastWidth));
}

function leastWidth<Row>({ column: { atLeast }, width }: Filled<Row>): number {
  return atLeast === undefined ? width : Math.min(atLeast, width);
}

function sumOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1));
}
