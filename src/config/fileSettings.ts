// The settings of a file stream. Promise: the template can name no file outside `path`, and only with known
// placeholders.
import { join, normalize, resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { didYouMean } from './didYouMean.js';
import type { Problems } from './problems.js';
import { checkObject, readBy } from './zodProblems.js';
import { parseSize } from './size.js';
import { deepFreeze, describeKind, describeValue, parseBoolean, parseInteger } from './values.js';

export const FILE_PLACEHOLDERS = ['bucket', 'PS', 'hostname', 'rand', 'ts'] as const;

export interface FileSettings {
  /** The folder, absolute. */
  readonly path: string;
  /** The file's name below `path`, with `{bucket} {PS} {hostname} {rand} {ts}`; default `{bucket}`. */
  readonly fileNameTemplate: string;
  /** A file that has reached this size is closed and the next one begun; default 100MB. */
  readonly sizeRotateBytes: number;
  /** The oldest own file goes when there would be more than this; default 1024. */
  readonly maxFiles: number;
  /** fdatasync after each batch; default true. */
  readonly fsync: boolean;
}

const fileSettingsSchema = z.strictObject({
  path: readBy(parseFolder),
  fileNameTemplate: readBy(parseTemplate).default('{bucket}'),
  sizeRotate: readBy((value) => parseSize(value, { minBytes: 1024 })).default(100 * 1024 ** 2),
  maxFiles: readBy((value) => parseInteger(value, 1, 1_000_000)).default(1024),
  fsync: readBy(parseBoolean).default(true),
});

/**
 * Undefined when something is wrong, which is then in `problems` under `path`. Relative folders start from
 * `cwd`.
 */
export function parseFileSettings(
  settings: Readonly<Record<string, unknown>>,
  path: string,
  problems: Problems,
  cwd: string,
): FileSettings | undefined {
  const checked = checkObject(fileSettingsSchema, settings, path, problems);
  if (checked === undefined) return undefined;
  const { sizeRotate, ...rest } = checked;
  return deepFreeze({ ...rest, path: resolve(cwd, checked.path), sizeRotateBytes: sizeRotate });
}

/** Equal for settings whose files would have the same names. */
export function fileNamesOf({ path, fileNameTemplate }: FileSettings): string {
  return normalize(join(path, fileNameTemplate.replaceAll('{PS}', '/')));
}

function parseFolder(value: unknown): string {
  if (value === undefined) throw new ConfigError('missing; name the folder of the files');
  if (typeof value !== 'string') throw new ConfigError(`${describeKind(value)} is not a text in quotes`);
  if (value === '' || value.includes('\0'))
    throw new ConfigError(`${describeValue(value)} is not the path of a folder`);
  return value;
}

function parseTemplate(value: unknown): string {
  if (typeof value !== 'string') throw new ConfigError(`${describeKind(value)} is not a text in quotes`);
  if (value === '') return '{bucket}';
  checkPlaceholders(value);
  checkSegments(value);
  return value;
}

function checkPlaceholders(template: string): void {
  const known = FILE_PLACEHOLDERS.map((name) => `{${name}}`);
  for (const found of template.match(/\{[^{}]*\}/g) ?? []) {
    if (known.includes(found)) continue;
    throw new ConfigError(
      `${describeValue(template)}: ${describeValue(found)} is not one of ${known.join(' ')}${didYouMean(found, known)}`,
    );
  }
  if (/[{}]/.test(template.replace(/\{[^{}]*\}/g, ''))) {
    throw new ConfigError(
      `${describeValue(template)} has a brace without its partner; placeholders are ${known.join(' ')}`,
    );
  }
}

function checkSegments(template: string): void {
  const segments = template.replaceAll('{PS}', '/').split('/');
  const shown = describeValue(template);
  if (/[\0-\x1f\x7f]/.test(template)) throw new ConfigError(`${shown} has a control character in it`);
  if (segments[0] === '') throw new ConfigError(`${shown} is an absolute path; files stay below "path"`);
  if (segments.includes('..') || segments.includes('.'))
    throw new ConfigError(`${shown} has a "." or ".." part; files stay below "path"`);
  if (segments.at(-1) === '')
    throw new ConfigError(`${shown} ends with a folder; the last part names the file`);
}
