// A file that a setting names, such as `ssl.key.location`. Promise: it is read whole, or the message says why
// it can't be.
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../errors.js';
import { describeValue, parseText } from '../values.js';

/** @throws ConfigError */
export function readNamedFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new ConfigError(`${describeValue(file)} does not exist`);
    if (code === 'EISDIR') throw new ConfigError(`${describeValue(file)} is a folder; name one file`);
    throw new ConfigError(`${describeValue(file)} can't be read (${code ?? String(error)})`);
  }
}

/**
 * A secret that stands alone in a file; a line end behind it is no part of it.
 * @throws ConfigError that does not show it
 */
export function readSecretFile(file: string): string {
  const text = readNamedFile(file).replace(/\r?\n$/, '');
  if (text === '') throw new ConfigError(`${describeValue(file)} is empty`);
  if (text.includes('\uFFFD')) throw new ConfigError(`${describeValue(file)} is not UTF-8 text`);
  return parseText(text);
}
