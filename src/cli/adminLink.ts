// The running daemon as commands ask it that look at it: through its admin door, at the place that --admin or
// ADMIN of the environment names.
import { existsSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Snapshot } from '../stats/snapshot.js';
import {
  type AdminPlace,
  type SocketFile,
  describePlace,
  parseAdminPlace,
  parseAdminPlaces,
} from '../config/adminPlace.js';
import { loadEnvironment } from '../config/env.js';
import { envFileOf } from '../config/envFile.js';
import { errnoOf } from '../disk/fileSystem.js';
import { ConfigError, messageOf } from '../errors.js';
import { refusedAt } from '../net/whose.js';
import { type CommandLine, type OptionSpec, UsageError } from './command.js';
import type { Io } from './io.js';
import { escaped } from './units.js';

export const ADMIN_OPTION: OptionSpec = {
  value: 'PLACE',
  help: "where the daemon's admin door is, HOST:PORT or the path of a socket; without it ADMIN of the environment",
};

/** Nobody answers, or nobody knows where to ask: exit code 3. */
export class NoDaemonError extends Error {
  override readonly name = 'NoDaemonError';
  readonly code = 'NO_DAEMON';
}

/** As the Debian package has it: so that it is found in any folder. */
export const SERVICE_SOCKET = '/run/kahe/admin/admin.sock';
const DEADLINE_MS = 10_000;

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  ENOTFOUND: 'there is no host of that name',
};

/** What a daemon shows of itself, and the text that it came as. */
export interface Shown {
  readonly snapshot: Snapshot;
  readonly text: string;
}

export class AdminLink {
  /** Sockets first: they show more. */
  readonly #places: readonly AdminPlace[];

  constructor(places: readonly AdminPlace[]) {
    this.#places = [...places].sort((a, b) => Number('host' in a) - Number('host' in b));
  }

  /** @throws {UsageError} --admin is no place; {NoDaemonError} the environment names none */
  static of(line: CommandLine, io: Io): AdminLink {
    const place = line.text('admin');
    return new AdminLink(place === undefined ? configuredPlaces(io) : [givenPlace(place, io)]);
  }

  /** @returns undefined: it is just starting. @throws {NoDaemonError} */
  async look(signal?: AbortSignal): Promise<Shown | undefined> {
    const { place, response } = await this.#ask(this.#places, '/status.json', signal);
    const body = await text(response).catch((error: unknown) => {
      throw noAnswer([[place, error]]);
    });
    if (response.statusCode === 503) return undefined;
    const snapshot = response.statusCode === 200 ? parsed(body) : undefined;
    if (snapshot === undefined)
      throw new NoDaemonError(
        `what answers on ${describePlace(place)} is no Kahe: ${response.statusCode ?? ''} ${escaped(body.slice(0, 100))}`,
      );
    return { snapshot, text: body };
  }

  /**
   * Frames of a bucket as they pass, where they may be shown. Its answer may also be a refusal.
   * @throws {NoDaemonError}
   */
  async tail(
    bucket: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const sockets = this.#places.filter((place) => 'path' in place);
    const { response } = await this.#ask(
      sockets.length > 0 ? sockets : this.#places,
      `/tail/${encodeURIComponent(bucket)}?${new URLSearchParams(query).toString()}`,
      signal,
    );
    response.socket.setTimeout(0);
    return response;
  }

  /** The first place that answers. */
  async #ask(
    places: readonly AdminPlace[],
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly place: AdminPlace; readonly response: IncomingMessage }> {
    const failures: [AdminPlace, unknown][] = [];
    for (const place of places) {
      try {
        return { place, response: await get(place, { path, ...(signal === undefined ? {} : { signal }) }) };
      } catch (error) {
        failures.push([place, error]);
      }
    }
    throw noAnswer(failures);
  }
}

function givenPlace(text: string, { cwd }: Io): AdminPlace {
  try {
    // As the log shows it, too.
    return parseAdminPlace(text.replace(/^http:\/\/([^/]+)\/?$/, '$1'), cwd);
  } catch (error) {
    if (error instanceof ConfigError) throw new UsageError(`--admin: ${error.message}`);
    throw error;
  }
}

function configuredPlaces(io: Io): readonly AdminPlace[] {
  try {
    if (!existsSync(envFileOf(io.cwd, io.env['environment']))) {
      const places = io.env['ADMIN'] ?? (existsSync(dirname(SERVICE_SOCKET)) ? SERVICE_SOCKET : '');
      if (places !== '') return parseAdminPlaces(places, io.cwd);
    }
    const { admin, file } = loadEnvironment(io);
    if (admin.length > 0) return admin;
    throw new NoDaemonError(
      `ADMIN is not set (${file ?? 'there is no .env file'}), so the daemon can't be asked: set it, as ADMIN=./admin.sock, and restart the daemon; or say --admin PLACE, if another one is meant`,
    );
  } catch (error) {
    if (error instanceof ConfigError)
      throw new NoDaemonError(
        `where the daemon is can't be found out; say --admin PLACE, or fix this:\n${error.message}`,
      );
    throw error;
  }
}

/** Resolves with the head of the answer; the rest is still to come. */
function get(place: AdminPlace, options: RequestOptions): Promise<IncomingMessage> {
  const where = 'path' in place ? { socketPath: place.path } : place;
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, ...where, agent: false, timeout: DEADLINE_MS });
    asked.on('response', resolve).on('error', reject);
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${DEADLINE_MS / 1000} s`)));
    asked.end();
  });
}

function noAnswer(failures: readonly (readonly [AdminPlace, unknown])[]): NoDaemonError {
  const said = failures
    .map(([place, error]) => `${describePlace(place)}: ${whyNot(place, error)}`)
    .join('; nor on ');
  if (failures.every(([place, error]) => isRefused(place, error)))
    return new NoDaemonError(`the daemon can't be asked on ${said}`);
  return new NoDaemonError(
    `no daemon answers on ${said}. Does it run, with ADMIN there? (start it with: kahe)`,
  );
}

function whyNot(place: AdminPlace, error: unknown): string {
  return isRefused(place, error)
    ? refusedAt(place.path)
    : (WHY[errnoOf(error) ?? ''] ?? escaped(messageOf(error)));
}

/** There may be a daemon: this user is not let in. */
function isRefused(place: AdminPlace, error: unknown): place is SocketFile {
  return 'path' in place && errnoOf(error) === 'EACCES';
}

function parsed(body: string): Snapshot | undefined {
  try {
    const snapshot = JSON.parse(body) as Partial<Snapshot> | null;
    return snapshot?.program !== undefined && snapshot.buckets !== undefined
      ? (snapshot as Snapshot)
      : undefined;
  } catch {
    return undefined;
  }
}
