// Where the daemon's socket is, for commands that write to it: in any folder, and without an .env file.
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { loadEnvironment } from '../config/env.js';
import { envFileOf } from '../config/envFile.js';
import { ConfigError } from '../errors.js';
import type { CommandLine, OptionSpec } from './command.js';
import type { Io } from './io.js';

export const SOCKET_OPTION: OptionSpec = {
  value: 'PATH',
  help: "the daemon's socket; without it SOCKET of the environment, or that of the installed service",
};

export interface DaemonPlace {
  readonly path: string;
  /** The greatest N of a frame that it takes, as far as it is known here. */
  readonly maxFrameBytes: number;
}

/** As the units of the Debian package have it. */
const SERVICE_SOCKET = '/run/kahe/kahe.sock';
/** What a daemon takes unless MAXFRAME says otherwise. */
const DEFAULT_MAX_FRAME = 16 * 1024 * 1024;

/** @throws {ConfigError} nothing says where it is */
export function daemonPlace(line: CommandLine, io: Pick<Io, 'cwd' | 'env'>): DaemonPlace {
  const given = line.text('socket');
  if (given !== undefined) return { path: resolve(io.cwd, given), maxFrameBytes: maxFrameHere(io) };
  const isElsewhere =
    !existsSync(envFileOf(io.cwd, io.env['environment'])) && (io.env['SOCKET'] ?? '') === '';
  if (isElsewhere && existsSync(dirname(SERVICE_SOCKET)))
    return { path: SERVICE_SOCKET, maxFrameBytes: DEFAULT_MAX_FRAME };
  const { socket, maxFrameBytes } = loadEnvironment(io);
  return { path: socket.path, maxFrameBytes };
}

/** What is configured here is a good guess, and no reason to fail. */
function maxFrameHere(io: Pick<Io, 'cwd' | 'env'>): number {
  try {
    return loadEnvironment(io).maxFrameBytes;
  } catch (error) {
    if (error instanceof ConfigError) return DEFAULT_MAX_FRAME;
    throw error;
  }
}
