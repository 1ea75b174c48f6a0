// JSON5 text to what it holds. Promise: a mistake in it is shown in its line, with a mark, unless the line
// may hold a secret.
import JSON5 from 'json5';
import { ConfigError } from '../errors.js';

/** JSON5's words: where the text ends, the column is that of the last character. */
const END = 'invalid end of input';
/** On each side of the mark. */
const MOST_SHOWN = 50;
/** Here, or in a line that goes on in this one. */
const MAY_BE_SECRET = /pass|secret|token|pem|cred/i;

/** @throws {ConfigError} with the place: file, line and column, and what stands there */
export function parseJson5(text: string, fileName: string): unknown {
  try {
    return JSON5.parse<unknown>(text);
  } catch (error) {
    const {
      message,
      lineNumber = 1,
      columnNumber = 1,
    } = error as SyntaxError & { lineNumber?: number; columnNumber?: number };
    const what = message.replace(/^JSON5: /, '').replace(/ at \d+:\d+$/, '');
    throw new ConfigError(
      `${fileName}: line ${lineNumber}, column ${columnNumber}: ${what}${shown(text, lineNumber, what === END ? undefined : columnNumber)}`,
    );
  }
}

/** `: b: »}«`, on one line, for it stands in logs too. @param columnNumber undefined: at the end */
function shown(text: string, lineNumber: number, columnNumber: number | undefined): string {
  const lines = text.split(/\r\n|[\n\r\u2028\u2029]/);
  const line = lines[lineNumber - 1] ?? '';
  if (line.trim() === '' || mayBeSecret(lines, lineNumber - 1)) return '';
  const at = columnNumber === undefined ? line.length : columnNumber - 1;
  const [before, marked, behind] = [line.slice(0, at), line.slice(at, at + 1), line.slice(at + 1)];
  return `: ${plain(last(before))}»${plain(marked)}«${plain(first(behind))}`.trimEnd();
}

/**
 * A value may stand lines behind its setting, with comments in between, and a text goes on behind a "\\" at
 * the end: only what ends a value, or begins a list or an object, is surely the end of what came before.
 */
function mayBeSecret(lines: readonly string[], at: number): boolean {
  for (let i = at; i >= 0; i--) {
    if (MAY_BE_SECRET.test(lines[i]!)) return true;
    if (/[,{}[\]]\s*$/.test((lines[i - 1] ?? '').replace(/\/\/.*/, ''))) return false;
  }
  return false;
}

function last(text: string): string {
  const trimmed = text.trimStart();
  return trimmed.length <= MOST_SHOWN ? trimmed : `…${trimmed.slice(-MOST_SHOWN)}`;
}

function first(text: string): string {
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}…`;
}

/** Nothing that moves a cursor or turns a text. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e\u00a1-\u024f\u0370-\u052f…]/gu, '?');
}
