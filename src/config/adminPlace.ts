// Where the admin door is (ADMIN): one place or several, each a TCP address or the path of a Unix socket.
import { resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import { checkSocketPath } from './socketPath.js';
import { describeValue } from './values.js';

export interface TcpPlace {
  readonly host: string;
  readonly port: number;
}

/** Absolute. */
export interface SocketFile {
  readonly path: string;
}

export type AdminPlace = TcpPlace | SocketFile;

/** Places between commas. @throws {ConfigError} one of them is none, or stands there twice */
export function parseAdminPlaces(text: string, cwd: string): readonly AdminPlace[] {
  const places = text.split(',').map((each) => parseAdminPlace(each.trim(), cwd));
  const names = places.map(describePlace);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw new ConfigError(`${describeValue(text)} names ${twice} twice`);
  return places;
}

/** What has a slash in it is a path. @throws {ConfigError} it is neither that nor an address */
export function parseAdminPlace(text: string, cwd: string): AdminPlace {
  if (text.includes('/')) return { path: checkSocketPath(resolve(cwd, text)) };
  const place = parseTcpPlace(text);
  if (place !== undefined) return place;
  throw new ConfigError(
    `${describeValue(text)} is no address and no path; write HOST:PORT ("127.0.0.1:9090", "[::1]:9090") or the path of a socket ("/run/kahe/admin.sock")`,
  );
}

/** HOST:PORT; an IPv6 address stands in brackets. Undefined: it is neither. */
export function parseTcpPlace(text: string): TcpPlace | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  return host !== undefined && Number(port) >= 1 && Number(port) <= 65_535
    ? { host, port: Number(port) }
    : undefined;
}

/** As people write it. */
export function describePlace(place: AdminPlace): string {
  if ('path' in place) return place.path;
  return `http://${place.host.includes(':') ? `[${place.host}]` : place.host}:${place.port}/`;
}
