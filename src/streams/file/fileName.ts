// The names of files. `{bucket}` comes from a client and may be any bytes, so it is encoded until it can't be a path, a special name or an
// option of a command: no client chooses where a file goes.
import { createHash, randomInt } from 'node:crypto';
import { ConfigError } from '../../errors.js';

export const DEFAULT_TEMPLATE = '{bucket}';
/** Where Kahe keeps its notes on the files below `path`. */
export const NOTES_FOLDER = '.kahe';

/** NAME_MAX is 255; the rest is room for a number. */
const LONGEST_NAME = 235;
const HASH_LENGTH = 32;
const PLACEHOLDER = /\{[^{}]*\}/g;

export interface NameValues {
  readonly bucket: string;
  readonly hostname: string;
  readonly nowMs: number;
}

/** A name to be numbered: `orders.bckstm`, `orders-2.bckstm`, … */
export class FileName {
  constructor(readonly stem: string, readonly extension: string) {}

  /** Relative to `path`, with `/` between folders. */
  numbered(number: number): string {
    return `${this.stem}${number === 1 ? '' : `-${number}`}${this.extension}`;
  }
}

/** @throws {ConfigError} on a template that names another folder, no file, or a placeholder that is not there */
export function checkTemplate(template: string): void {
  const plain = template.replaceAll('{PS}', '/');
  const names = plain.split('/');
  const unknown = plain.match(PLACEHOLDER)?.find((found) => !['{bucket}', '{hostname}', '{rand}', '{ts}'].includes(found));
  const say = (what: string): never => {
    throw new ConfigError(`fileNameTemplate ${JSON.stringify(template)}: ${what}`);
  };
  if (unknown !== undefined) say(`${unknown} is unknown; there are {bucket} {PS} {hostname} {rand} {ts}`);
  if (plain.includes('\0')) say('a file name can\'t hold a NUL byte');
  if (names.some((name) => name === '' || name === '.' || name === '..')) say('must name a file below path, without empty names, . or ..');
  if (names[0] === NOTES_FOLDER) say(`${NOTES_FOLDER} is kept for Kahe's own notes`);
}

/** The name for a file opened now. `{rand}` is drawn anew at each call. */
export function expandTemplate(template: string, values: NameValues): FileName {
  checkTemplate(template);
  const names = template.replaceAll('{PS}', '/').split('/');
  const last = names.pop()!;
  // Only what the template itself says is an extension: the bucket my.topic has none.
  const extension = /\.[^.{}]+$/.exec(last)?.[0] ?? '';
  const fill = (name: string): string => name.replace(PLACEHOLDER, (found) => valueOf(found, values));
  const folders = names.map((name) => shortened(fill(name), LONGEST_NAME));
  const stem = shortened(fill(last.slice(0, last.length - extension.length)), Math.max(LONGEST_NAME - extension.length, HASH_LENGTH + 2));
  return new FileName([...folders, stem].join('/'), extension);
}

function valueOf(placeholder: string, { bucket, hostname, nowMs }: NameValues): string {
  switch (placeholder) {
    case '{bucket}':
      return safeName(bucket);
    case '{hostname}':
      return safeName(hostname);
    case '{rand}':
      return randomName();
    default:
      return String(Math.floor(nowMs / 1000));
  }
}

/** One file name for any text, another for each: all but [A-Za-z0-9._-] as %XX of its UTF-8, so too a leading dot or dash. */
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

/** A name of at most `longest` characters: cut, with a hash of the whole. `%-` is never in an encoded name, so a cut one is never another's. */
export function shortened(name: string, longest: number): string {
  if (Buffer.byteLength(name) <= longest) return name;
  const kept = Buffer.from(name).subarray(0, longest - HASH_LENGTH - 2).toString().replace(/\ufffd+$/, '');
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
