// Names for files and folders from what others chose: no text becomes a path, a special name or an option of
// a command, and no two texts become the same name.
import { createHash, randomInt } from 'node:crypto';

export const HASH_LENGTH = 32;

/**
 * One file name for any text, another for each: all but [A-Za-z0-9._-] as %XX of its UTF-8, so too a leading
 * dot or dash.
 */
export function safeName(text: string): string {
  if (text === '') return '%';
  let name = '';
  for (const byte of Buffer.from(text)) {
    const char = String.fromCharCode(byte);
    const isPlain = /[A-Za-z0-9._-]/.test(char) && !(name === '' && (char === '.' || char === '-'));
    name += isPlain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return name;
}

/**
 * A name of at most `longest` characters: cut, with a hash of the whole. `%-` is never in an encoded name, so
 * a cut one is never another's.
 */
export function shortened(name: string, longest: number): string {
  if (Buffer.byteLength(name) <= longest) return name;
  const kept = Buffer.from(name)
    .subarray(0, longest - HASH_LENGTH - 2)
    .toString()
    .replace(/\ufffd+$/, '');
  return `${kept}%-${shortHash(name)}`;
}

/** 128 bits: short, and no client finds two names with the same one. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_LENGTH);
}

/** 8 of a–z0–9. */
export function randomName(): string {
  return Array.from({ length: 8 }, () => 'abcdefghijklmnopqrstuvwxyz0123456789'[randomInt(36)]!).join('');
}

/**
 * Where a replay notes how far it has sent a file, unless it is told another folder. As long as it is there,
 * nothing is added to the file.
 */
export function replayNoteOf(path: string): string {
  return `${path}.replay.json`;
}
