// The names of files. `{bucket}` comes from a client and may be any bytes, so it is encoded until it can't be
// a path, a special name or an option of a command: no client chooses where a file goes.
import { HASH_LENGTH, randomName, safeName, shortened } from '../../disk/names.js';
import { ConfigError } from '../../errors.js';

export const DEFAULT_TEMPLATE = '{bucket}';
/** Where Kahe keeps its notes on the files below `path`. */
export const NOTES_FOLDER = '.kahe';

/** NAME_MAX is 255; the rest is room for a number. */
const LONGEST_NAME = 235;
const PLACEHOLDER = /\{[^{}]*\}/g;

export interface NameValues {
  readonly bucket: string;
  readonly hostname: string;
  readonly nowMs: number;
}

/** A name to be numbered: `orders.bckstm`, `orders-2.bckstm`, … */
export class FileName {
  constructor(
    readonly stem: string,
    readonly extension: string,
  ) {}

  /** Relative to `path`, with `/` between folders. */
  numbered(number: number): string {
    return `${this.stem}${number === 1 ? '' : `-${number}`}${this.extension}`;
  }
}

/**
 * @throws {ConfigError} on a template that names another folder, no file, or a placeholder that is not there
 */
export function checkTemplate(template: string): void {
  const plain = template.replaceAll('{PS}', '/');
  const names = plain.split('/');
  const unknown = plain
    .match(PLACEHOLDER)
    ?.find((found) => !['{bucket}', '{hostname}', '{rand}', '{ts}'].includes(found));
  const say = (what: string): never => {
    throw new ConfigError(`fileNameTemplate ${JSON.stringify(template)}: ${what}`);
  };
  if (unknown !== undefined) say(`${unknown} is unknown; there are {bucket} {PS} {hostname} {rand} {ts}`);
  if (plain.includes('\0')) say("a file name can't hold a NUL byte");
  if (names.some((name) => name === '' || name === '.' || name === '..'))
    say('must name a file below path, without empty names, . or ..');
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
  const stem = shortened(
    fill(last.slice(0, last.length - extension.length)),
    Math.max(LONGEST_NAME - extension.length, HASH_LENGTH + 2),
  );
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
