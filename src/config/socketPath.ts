// The path of a Unix socket: the kernel has room for so many bytes of it.
import { ConfigError } from '../errors.js';
import { describeValue } from './values.js';

const LONGEST_SOCKET_PATH = 107;

/** The path as it was given. @throws {ConfigError} it is too long */
export function checkSocketPath(path: string): string {
  const length = Buffer.byteLength(path);
  if (length <= LONGEST_SOCKET_PATH) return path;
  throw new ConfigError(
    `${describeValue(path)} has ${length} bytes; the path of a socket can have ${LONGEST_SOCKET_PATH}`,
  );
}
