// Text by the room that it takes on a terminal: wide characters, emoji and combining marks are not one column
// each.
import stringWidth from 'string-width';

const SEGMENTER = new Intl.Segmenter();

/** In columns. */
export function widthOf(text: string): number {
  return stringWidth(text);
}

/** At most `width` columns, with "…" where it was cut; characters stay whole. */
export function cutToWidth(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width < 1) return '';
  let kept = '';
  let used = 0;
  for (const { segment } of SEGMENTER.segment(text)) {
    used += widthOf(segment);
    if (used > width - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** As `padEnd` and `padStart`, by columns. */
export function padToWidth(text: string, width: number, side: 'left' | 'right'): string {
  const padding = ' '.repeat(Math.max(0, width - widthOf(text)));
  return side === 'left' ? text + padding : padding + text;
}
