// Numbers and bytes as people read them. Promise: what comes out is one line, whatever the bytes are: nothing
// moves the cursor, hides text or turns its direction.
import { textOf } from '../frames/frameText.js';
import { plural } from '../plural.js';

/** 1536 → "1.5 KB": powers of 1024, as everywhere in Kahe. */
export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length);
  const value = bytes / 1024 ** power;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${UNITS[power - 1]!}`;
}

const UNITS = ['KB', 'MB', 'GB', 'TB'];

/** 1234567 → "1,234,567". */
export function countText(count: number): string {
  return String(Math.floor(count)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** 1234.5 → "1,235", 0.34 → "0.3": what is seldom is not nothing. */
export function rateText(perSecond: number): string {
  if (perSecond === 0 || perSecond >= 9.95) return countText(Math.round(perSecond));
  return perSecond < 0.05 ? '<0.1' : perSecond.toFixed(1);
}

/** "1 frame", "1,234 frames". */
export function counted(count: number, noun: string): string {
  return `${countText(count)} ${plural(count, noun)}`;
}

export function framesText(frames: number): string {
  return counted(frames, 'frame');
}

/** 3_723_000 → "1h02m". */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0
    ? `${hours}h${String(minutes).padStart(2, '0')}m`
    : `${minutes}m${String(seconds % 60).padStart(2, '0')}s`;
}

/**
 * Text on one line, spaces for tabs and line ends; what is no text, or would do something to a terminal, as
 * hex.
 */
export function lineOf(bytes: Buffer, isCut = false): string {
  const text = textOf(bytes, isCut);
  return text === undefined || UNSAFE.test(text)
    ? `0x${bytes.toString('hex')}`
    : text.replace(/[\t\n]/g, ' ');
}

/** Control characters, but tab and line end, and those that turn or hide text. */
const UNSAFE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** What somebody said, on one line: what would do something to a terminal is written as its number. */
export function escaped(text: string): string {
  return text
    .replace(/[\t\n]+/g, ' ')
    .replace(EACH_UNSAFE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
    .trim();
}

const EACH_UNSAFE = new RegExp(UNSAFE, 'g');

/** At most `width` characters, with "…" where it was cut. */
export function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const kept = text.slice(0, width - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}
